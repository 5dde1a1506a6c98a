-- Branches side by side; a lead belongs to the branch of its last action.
-- Grain: one row per branch. Source: crm_bot_actions_<mrf>, mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_branches_:build (
    branch            text           NOT NULL,
    managers          bigint         NOT NULL,
    actions           bigint         NOT NULL,
    leads             bigint         NOT NULL,
    orders            bigint         NOT NULL,  -- leads that placed an order
    conversion        double precision,         -- orders / leads
    refusals          bigint         NOT NULL,  -- leads whose present state is a refusal
    orders_potential  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_branches_:build
WITH activity AS (
    SELECT branch, count(DISTINCT manager_id) AS managers, count(*) AS actions
    FROM crm_bot_actions_:mrf
    GROUP BY branch
), results AS (
    SELECT
        branch,
        count(*) AS leads,
        count(*) FILTER (WHERE stage = 5) AS orders,
        count(*) FILTER (WHERE last_result = 'refused') AS refusals,
        sum(potential_revenue) FILTER (WHERE stage = 5) AS orders_potential
    FROM crm_bot_mart_actions_leads_:build
    GROUP BY branch
)
SELECT
    a.branch,
    a.managers,
    a.actions,
    coalesce(r.leads, 0),
    coalesce(r.orders, 0),
    r.orders::double precision / r.leads,
    coalesce(r.refusals, 0),
    coalesce(r.orders_potential, 0)
FROM activity AS a
LEFT JOIN results AS r ON r.branch = a.branch;
