-- Leaderboard of managers; a lead belongs to the manager of its last action.
-- Grain: one row per manager. Source: crm_bot_actions_<mrf>, mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_managers_:build (
    place             bigint         NOT NULL,  -- by orders, then by their potential; equals share a place
    manager_id        text           NOT NULL,
    manager_name      text           NOT NULL,
    branch            text           NOT NULL,
    actions           bigint         NOT NULL,
    leads             bigint         NOT NULL,
    orders            bigint         NOT NULL,  -- leads that placed an order
    conversion        double precision,         -- orders / leads
    orders_potential  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_managers_:build
WITH activity AS (
    SELECT
        manager_id,
        max(manager_name) AS manager_name,
        max(branch) AS branch,
        count(*) AS actions
    FROM crm_bot_actions_:mrf
    GROUP BY manager_id
), results AS (
    SELECT
        manager_id,
        count(*) AS leads,
        count(*) FILTER (WHERE stage = 5) AS orders,
        sum(potential_revenue) FILTER (WHERE stage = 5) AS orders_potential
    FROM crm_bot_mart_actions_leads_:build
    GROUP BY manager_id
), managers AS (
    SELECT
        a.*,
        coalesce(r.leads, 0) AS leads,
        coalesce(r.orders, 0) AS orders,
        r.orders::double precision / r.leads AS conversion,
        coalesce(r.orders_potential, 0) AS orders_potential
    FROM activity AS a
    LEFT JOIN results AS r ON r.manager_id = a.manager_id
)
SELECT
    rank() OVER (ORDER BY orders DESC, orders_potential DESC),
    manager_id,
    manager_name,
    branch,
    actions,
    leads,
    orders,
    conversion,
    orders_potential
FROM managers;
