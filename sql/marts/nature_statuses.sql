-- Where orders stand now.
-- Grain: one row per status; statuses that no order has are there with zeros. Source: mart nature_orders.
-- Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_statuses_:build (
    stage            integer        NOT NULL,  -- order of the statuses
    status           text           NOT NULL,
    orders           bigint         NOT NULL,
    share            double precision,         -- of all orders
    units            bigint         NOT NULL,
    one_off_revenue  numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_statuses_:build
SELECT
    s.stage,
    s.status,
    coalesce(o.orders, 0),
    coalesce(o.orders, 0)::double precision / nullif(sum(o.orders) OVER (), 0),
    coalesce(o.units, 0),
    coalesce(o.one_off_revenue, 0),
    coalesce(o.monthly_revenue, 0)
FROM (
    VALUES (1, 'application'), (2, 'feasibility'), (3, 'contract'), (4, 'connected'), (5, 'lost')
) AS s (stage, status)
LEFT JOIN (
    SELECT
        status,
        count(*) AS orders,
        sum(units) AS units,
        sum(one_off_revenue) AS one_off_revenue,
        sum(monthly_revenue) AS monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    GROUP BY status
) AS o ON o.status = s.status;
