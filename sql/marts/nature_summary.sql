-- Key figures of sales in one MRF. Units and revenue are those of orders whose present state is "connected".
-- Grain: one row. Source: crm_bot_nature_<mrf>, mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_summary_:build (
    rows_total       bigint NOT NULL,
    first_day        date,
    last_day         date,
    loaded_at        timestamptz,             -- when the newest row reached the warehouse
    orders           bigint NOT NULL,
    connected        bigint NOT NULL,
    in_work          bigint NOT NULL,         -- neither connected nor lost
    lost             bigint NOT NULL,
    conversion       double precision,        -- connected / orders
    units            bigint NOT NULL,
    one_off_revenue  numeric(16, 2) NOT NULL, -- roubles
    monthly_revenue  numeric(16, 2) NOT NULL, -- roubles per month
    in_work_revenue  numeric(16, 2) NOT NULL, -- monthly revenue of the orders in work, roubles per month
    median_days      double precision         -- from application to connection
)
:columnar;

INSERT INTO crm_bot_mart_nature_summary_:build
SELECT
    n.rows_total,
    n.first_day,
    n.last_day,
    n.loaded_at,
    o.orders,
    o.connected,
    o.orders - o.connected - o.lost,
    o.lost,
    o.connected::double precision / nullif(o.orders, 0),
    o.units,
    o.one_off_revenue,
    o.monthly_revenue,
    o.in_work_revenue,
    o.median_days
FROM (
    SELECT
        count(*) AS rows_total,
        (min(occurred_at) AT TIME ZONE :'timezone')::date AS first_day,
        (max(occurred_at) AT TIME ZONE :'timezone')::date AS last_day,
        max(loaded_at) AS loaded_at
    FROM crm_bot_nature_:mrf
) AS n
CROSS JOIN (
    SELECT
        count(*) AS orders,
        count(*) FILTER (WHERE status = 'connected') AS connected,
        count(*) FILTER (WHERE status = 'lost') AS lost,
        coalesce(sum(units) FILTER (WHERE status = 'connected'), 0) AS units,
        coalesce(sum(one_off_revenue) FILTER (WHERE status = 'connected'), 0) AS one_off_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE status = 'connected'), 0) AS monthly_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE status NOT IN ('connected', 'lost')), 0) AS in_work_revenue,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY CASE WHEN status = 'connected' THEN extract(epoch FROM status_at - applied_at) / 86400.0 END
        ) AS median_days
    FROM crm_bot_mart_nature_orders_:build
) AS o;
