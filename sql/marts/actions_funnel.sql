-- Funnel of leads: a lead counts at its furthest step and at every earlier one.
-- Covers leads created in the trend weeks: those of this month alone had too little time to progress.
-- Grain: one row per step of the funnel. Source: marts actions_leads, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_funnel_:build (
    stage           integer        NOT NULL,
    step            text           NOT NULL,
    leads           bigint         NOT NULL,
    margin          double precision,         -- blank space, in leads, to the left of the centred bar
    share_of_first  double precision,         -- of all leads
    share_of_last   double precision,         -- of the leads at the previous step
    median_days     double precision,         -- from the previous step, excluding leads that skipped it
    potential       numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_funnel_:build
WITH leads AS (
    SELECT l.*
    FROM crm_bot_mart_actions_leads_:build AS l
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON l.first_at >= r.trend_start::timestamp AT TIME ZONE :'timezone'
), steps AS (
    SELECT
        s.stage,
        s.step,
        count(l.lead_id) AS leads,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM nullif(CASE s.stage
                WHEN 2 THEN l.contact_at - l.first_at
                WHEN 3 THEN l.meeting_at - l.contact_at
                WHEN 4 THEN l.offer_at - l.meeting_at
                WHEN 5 THEN l.order_at - l.offer_at
            END, interval '0'))::double precision / 86400
        ) AS median_days,
        coalesce(sum(l.potential_revenue), 0) AS potential
    FROM (VALUES (1, 'lead'), (2, 'contact'), (3, 'meeting'), (4, 'offer'), (5, 'order')) AS s (stage, step)
    LEFT JOIN leads AS l ON l.stage >= s.stage
    GROUP BY s.stage, s.step
)
SELECT
    stage,
    step,
    leads,
    (max(leads) OVER () - leads) / 2.0,
    leads::double precision / nullif(max(leads) OVER (), 0),
    leads::double precision / nullif(lag(leads) OVER (ORDER BY stage), 0),
    median_days,
    potential
FROM steps;
