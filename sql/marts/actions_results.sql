-- Outcomes of what managers do.
-- Grain: one row per result. Source: crm_bot_actions_<mrf>. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_results_:build (
    result   text   NOT NULL,
    actions  bigint NOT NULL,
    share    double precision,  -- of all actions
    leads    bigint NOT NULL    -- leads that had this result at least once
)
:columnar;

INSERT INTO crm_bot_mart_actions_results_:build
SELECT
    result,
    actions,
    actions::double precision / sum(actions) OVER (),
    leads
FROM (
    SELECT result, count(*) AS actions, count(DISTINCT lead_id) AS leads
    FROM crm_bot_actions_:mrf
    GROUP BY result
) AS results;
