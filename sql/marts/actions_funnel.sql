-- How far leads get: a lead counts at its furthest step and at every step before it.
-- Grain: one row per step of the funnel. Source: mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_funnel_:build (
    stage           integer        NOT NULL,
    step            text           NOT NULL,
    leads           bigint         NOT NULL,
    share_of_first  double precision,         -- of all leads
    share_of_last   double precision,         -- of the leads at the step before
    potential       numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_funnel_:build
WITH steps AS (
    SELECT s.stage, s.step, count(l.lead_id) AS leads, coalesce(sum(l.potential_revenue), 0) AS potential
    FROM (VALUES (1, 'lead'), (2, 'contact'), (3, 'meeting'), (4, 'offer'), (5, 'order')) AS s (stage, step)
    LEFT JOIN crm_bot_mart_actions_leads_:build AS l ON l.stage >= s.stage
    GROUP BY s.stage, s.step
)
SELECT
    stage,
    step,
    leads,
    leads::double precision / nullif(max(leads) OVER (), 0),
    leads::double precision / nullif(lag(leads) OVER (ORDER BY stage), 0),
    potential
FROM steps;
