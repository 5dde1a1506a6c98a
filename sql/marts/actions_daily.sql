-- Activity by day; days without activity have zeros.
-- Grain: one row per day. Source: marts actions_activity, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_daily_:build (
    day               date           NOT NULL,
    actions           bigint         NOT NULL,
    managers          bigint         NOT NULL,  -- with at least one action
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL   -- of the orders placed, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_daily_:build
WITH days AS (
    SELECT generate_series(min(a.day)::timestamp, max(r.day)::timestamp, interval '1 day')::date AS day
    FROM crm_bot_mart_actions_activity_:build AS a
    CROSS JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
)
SELECT
    d.day,
    coalesce(sum(a.actions), 0),
    count(DISTINCT a.manager_id),
    coalesce(sum(a.leads), 0),
    coalesce(sum(a.orders), 0),
    coalesce(sum(a.refusals), 0),
    coalesce(sum(a.orders_potential), 0)
FROM days AS d
LEFT JOIN crm_bot_mart_actions_activity_:build AS a ON a.day = d.day
GROUP BY d.day;
