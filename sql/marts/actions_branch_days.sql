-- Activity of each branch by day, in the trend weeks; days without activity have zeros.
-- Grain: one row per branch and day. Source: marts actions_activity, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_branch_days_:build (
    branch            text           NOT NULL,
    day               date           NOT NULL,
    actions           bigint         NOT NULL,
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL   -- of the orders placed, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_branch_days_:build
WITH days AS (
    SELECT generate_series(trend_start::timestamp, day::timestamp, interval '1 day')::date AS day
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
), branches AS (
    SELECT DISTINCT a.branch
    FROM crm_bot_mart_actions_activity_:build AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON a.day >= r.trend_start
)
SELECT
    b.branch,
    d.day,
    coalesce(sum(a.actions), 0),
    coalesce(sum(a.leads), 0),
    coalesce(sum(a.orders), 0),
    coalesce(sum(a.refusals), 0),
    coalesce(sum(a.orders_potential), 0)
FROM branches AS b
CROSS JOIN days AS d
LEFT JOIN crm_bot_mart_actions_activity_:build AS a ON a.branch = b.branch AND a.day = d.day
GROUP BY b.branch, d.day;
