-- Funnel of orders: an order counts at its furthest step and at every earlier one, even if it was lost later.
-- Covers orders applied for in the trend weeks.
-- Grain: one row per step. Source: marts nature_orders, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_funnel_:build (
    stage            integer        NOT NULL,
    step             text           NOT NULL,
    orders           bigint         NOT NULL,
    margin           double precision,         -- blank space, in orders, to the left of the centred bar
    share_of_first   double precision,         -- of all orders
    share_of_last    double precision,         -- of the orders at the previous step
    median_days      double precision,         -- from the previous step, excluding orders that skipped it
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_funnel_:build
WITH orders AS (
    SELECT o.*
    FROM crm_bot_mart_nature_orders_:build AS o
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON o.applied_day >= r.trend_start
), steps AS (
    SELECT
        s.stage,
        s.step,
        count(o.order_id) AS orders,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM nullif(CASE s.stage
                WHEN 2 THEN o.feasibility_at - o.applied_at
                WHEN 3 THEN o.contract_at - o.feasibility_at
                WHEN 4 THEN o.connected_at - o.contract_at
            END, interval '0'))::double precision / 86400
        ) AS median_days,
        coalesce(sum(o.monthly_revenue), 0) AS monthly_revenue
    FROM (
        VALUES (1, 'application'), (2, 'feasibility'), (3, 'contract'), (4, 'connected')
    ) AS s (stage, step)
    LEFT JOIN orders AS o ON o.stage >= s.stage
    GROUP BY s.stage, s.step
)
SELECT
    stage,
    step,
    orders,
    (max(orders) OVER () - orders) / 2.0,
    orders::double precision / nullif(max(orders) OVER (), 0),
    orders::double precision / nullif(lag(orders) OVER (ORDER BY stage), 0),
    median_days,
    monthly_revenue
FROM steps;
