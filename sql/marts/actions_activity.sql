-- Activity of each manager by hour, in the MRF's time zone: the only pass over all actions; other marts aggregate it.
-- Grain: one row per day, hour, branch and manager. Source: crm_bot_actions_<mrf>, mart report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_activity_:build (
    day               date           NOT NULL,
    hour              integer        NOT NULL,
    branch            text           NOT NULL,
    manager_id        text           NOT NULL,
    manager_name      text           NOT NULL,
    actions           bigint         NOT NULL,
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL   -- of the orders placed, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_activity_:build
SELECT
    hour_at::date,
    extract(hour FROM hour_at)::integer,
    branch,
    manager_id,
    manager_name,
    actions,
    leads,
    orders,
    refusals,
    orders_potential
FROM (
    SELECT
        date_trunc('hour', a.occurred_at AT TIME ZONE :'timezone') AS hour_at,
        a.branch,
        a.manager_id,
        max(a.manager_name) AS manager_name,
        count(*) AS actions,
        count(*) FILTER (WHERE a.action = 'lead_created') AS leads,
        count(*) FILTER (WHERE a.result = 'order_placed') AS orders,
        count(*) FILTER (WHERE a.result = 'refused') AS refusals,
        coalesce(sum(a.potential_revenue) FILTER (WHERE a.result = 'order_placed'), 0) AS orders_potential
    FROM crm_bot_actions_:mrf AS a
    WHERE a.occurred_at < (SELECT until_at FROM crm_bot_mart_report_:build)
    GROUP BY 1, a.branch, a.manager_id
) AS hours;
