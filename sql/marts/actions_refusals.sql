-- Why leads refuse: the leads whose present state is a refusal.
-- Grain: one row per reason. Source: mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_refusals_:build (
    reason     text           NOT NULL,
    leads      bigint         NOT NULL,
    share      double precision,         -- of all refusals
    potential  numeric(16, 2) NOT NULL   -- what these leads could have brought, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_refusals_:build
SELECT
    reason,
    leads,
    leads::double precision / sum(leads) OVER (),
    potential
FROM (
    SELECT
        coalesce(refusal_reason, 'Не указана') AS reason,
        count(*) AS leads,
        sum(potential_revenue) AS potential
    FROM crm_bot_mart_actions_leads_:build
    WHERE last_result = 'refused'
    GROUP BY 1
) AS refusals;
