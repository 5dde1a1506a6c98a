-- Lost orders by reason, this month to date and in the same days of the previous month.
-- Grain: one row per reason. Source: marts nature_orders, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_losses_:build (
    reason           text           NOT NULL,
    orders           bigint         NOT NULL,
    share            double precision,         -- of all orders lost this month
    units            bigint         NOT NULL,
    monthly_revenue  numeric(16, 2) NOT NULL,  -- lost with these orders, roubles per month
    previous         bigint         NOT NULL,  -- orders lost in the previous month
    share_previous   double precision,         -- of all orders lost in the previous month
    change           double precision          -- orders / previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_nature_losses_:build
WITH periods AS (
    SELECT
        coalesce(o.lost_reason, 'Не указана') AS reason,
        o.units,
        o.monthly_revenue,
        o.status_day >= r.month_start AS is_current
    FROM crm_bot_mart_nature_orders_:build AS o
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON o.status_day >= r.month_start OR (o.status_day >= r.previous_start AND o.status_day <= r.previous_end)
    WHERE o.status = 'lost'
), sums AS (
    SELECT
        reason,
        count(*) FILTER (WHERE is_current) AS orders,
        coalesce(sum(units) FILTER (WHERE is_current), 0) AS units,
        coalesce(sum(monthly_revenue) FILTER (WHERE is_current), 0) AS monthly_revenue,
        count(*) FILTER (WHERE NOT is_current) AS previous
    FROM periods
    GROUP BY reason
)
SELECT
    reason,
    orders,
    orders::double precision / nullif(sum(orders) OVER (), 0),
    units,
    monthly_revenue,
    previous,
    previous::double precision / nullif(sum(previous) OVER (), 0),
    orders::double precision / nullif(previous, 0) - 1
FROM sums;
