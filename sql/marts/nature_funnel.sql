-- How far orders get and how fast: an order counts at its furthest step and at every step before it, also when it
-- was lost afterwards.
-- Grain: one row per step. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_funnel_:build (
    stage            integer        NOT NULL,
    step             text           NOT NULL,
    orders           bigint         NOT NULL,
    share_of_first   double precision,         -- of all orders
    share_of_last    double precision,         -- of the orders at the step before
    median_days      double precision,         -- from application to this step
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_funnel_:build
WITH steps AS (
    SELECT
        s.stage,
        s.step,
        count(o.order_id) AS orders,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM CASE s.step
                WHEN 'feasibility' THEN o.feasibility_at
                WHEN 'contract' THEN o.contract_at
                WHEN 'connected' THEN o.connected_at
            END - o.applied_at) / 86400.0
        ) AS median_days,
        coalesce(sum(o.monthly_revenue), 0) AS monthly_revenue
    FROM (
        VALUES (1, 'application'), (2, 'feasibility'), (3, 'contract'), (4, 'connected')
    ) AS s (stage, step)
    LEFT JOIN crm_bot_mart_nature_orders_:build AS o ON o.stage >= s.stage
    GROUP BY s.stage, s.step
)
SELECT
    stage,
    step,
    orders,
    orders::double precision / nullif(max(orders) OVER (), 0),
    orders::double precision / nullif(lag(orders) OVER (ORDER BY stage), 0),
    median_days,
    monthly_revenue
FROM steps;
