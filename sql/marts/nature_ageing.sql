-- Open orders by time at their current step; a step without orders has zeros.
-- Grain: one row per step, a column per age. Source: marts nature_orders, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_ageing_:build (
    stage            integer        NOT NULL,
    status           text           NOT NULL,
    orders           bigint         NOT NULL,
    days_3           bigint         NOT NULL,  -- orders at the step for 0 to 3 days
    days_7           bigint         NOT NULL,  -- 4 to 7
    days_14          bigint         NOT NULL,  -- 8 to 14
    days_30          bigint         NOT NULL,  -- 15 to 30
    days_more        bigint         NOT NULL,  -- 31 and more
    stuck            bigint         NOT NULL,  -- 15 and more
    stuck_revenue    numeric(16, 2) NOT NULL,  -- of these, roubles per month
    monthly_revenue  numeric(16, 2) NOT NULL   -- of all orders at the step, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_ageing_:build
WITH orders AS (
    SELECT o.order_id, o.status, o.monthly_revenue, r.day - o.status_day AS days
    FROM crm_bot_mart_nature_orders_:build AS o
    CROSS JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
)
SELECT
    s.stage,
    s.status,
    count(o.order_id),
    count(o.order_id) FILTER (WHERE o.days <= 3),
    count(o.order_id) FILTER (WHERE o.days > 3 AND o.days <= 7),
    count(o.order_id) FILTER (WHERE o.days > 7 AND o.days <= 14),
    count(o.order_id) FILTER (WHERE o.days > 14 AND o.days <= 30),
    count(o.order_id) FILTER (WHERE o.days > 30),
    count(o.order_id) FILTER (WHERE o.days > 14),
    coalesce(sum(o.monthly_revenue) FILTER (WHERE o.days > 14), 0),
    coalesce(sum(o.monthly_revenue), 0)
FROM (VALUES (1, 'application'), (2, 'feasibility'), (3, 'contract')) AS s (stage, status)
LEFT JOIN orders AS o ON o.status = s.status
GROUP BY s.stage, s.status;
