-- Leaderboard of managers, this month to date, with the orders of the same days of the previous month.
-- Grain: one row per manager. Source: marts actions_activity, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_managers_:build (
    place             bigint         NOT NULL,  -- by orders, then by their potential; ties share a place
    manager_id        text           NOT NULL,
    manager_name      text           NOT NULL,
    branch            text           NOT NULL,
    actions           bigint         NOT NULL,
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    conversion        double precision,         -- orders / leads
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL,  -- roubles per month
    orders_previous   bigint         NOT NULL,
    orders_change     double precision          -- orders / orders_previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_actions_managers_:build
WITH periods AS (
    SELECT a.*, a.day >= r.month_start AS is_current
    FROM crm_bot_mart_actions_activity_:build AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON a.day >= r.month_start OR (a.day >= r.previous_start AND a.day <= r.previous_end)
), sums AS (
    SELECT
        manager_id,
        max(manager_name) AS manager_name,
        max(branch) AS branch,
        coalesce(sum(actions) FILTER (WHERE is_current), 0) AS actions,
        coalesce(sum(leads) FILTER (WHERE is_current), 0) AS leads,
        coalesce(sum(orders) FILTER (WHERE is_current), 0) AS orders,
        coalesce(sum(refusals) FILTER (WHERE is_current), 0) AS refusals,
        coalesce(sum(orders_potential) FILTER (WHERE is_current), 0) AS orders_potential,
        coalesce(sum(orders) FILTER (WHERE NOT is_current), 0) AS orders_previous
    FROM periods
    GROUP BY manager_id
)
SELECT
    rank() OVER (ORDER BY orders DESC, orders_potential DESC),
    manager_id,
    manager_name,
    branch,
    actions,
    leads,
    orders,
    orders::double precision / nullif(leads, 0),
    refusals,
    orders_potential,
    orders_previous,
    orders::double precision / nullif(orders_previous, 0) - 1
FROM sums;
