-- Refusals by reason, this month to date and in the same days of the previous month.
-- Grain: one row per reason. Source: crm_bot_actions_<mrf>, mart report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_refusals_:build (
    reason          text           NOT NULL,
    refusals        bigint         NOT NULL,
    share           double precision,         -- of all refusals of this month
    potential       numeric(16, 2) NOT NULL,  -- of these leads, roubles per month
    previous        bigint         NOT NULL,  -- refusals of the previous month
    share_previous  double precision,         -- of all refusals of the previous month
    change          double precision          -- refusals / previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_actions_refusals_:build
WITH periods AS (
    SELECT
        coalesce(a.refusal_reason, 'Не указана') AS reason,
        a.potential_revenue,
        (a.occurred_at AT TIME ZONE :'timezone')::date >= r.month_start AS is_current,
        (a.occurred_at AT TIME ZONE :'timezone')::date <= r.previous_end AS is_previous
    FROM crm_bot_actions_:mrf AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON a.occurred_at >= r.previous_start::timestamp AT TIME ZONE :'timezone' AND a.occurred_at < r.until_at
    WHERE a.result = 'refused'
), sums AS (
    SELECT
        reason,
        count(*) FILTER (WHERE is_current) AS refusals,
        coalesce(sum(potential_revenue) FILTER (WHERE is_current), 0) AS potential,
        count(*) FILTER (WHERE is_previous) AS previous
    FROM periods
    WHERE is_current OR is_previous
    GROUP BY reason
)
SELECT
    reason,
    refusals,
    refusals::double precision / nullif(sum(refusals) OVER (), 0),
    potential,
    previous,
    previous::double precision / nullif(sum(previous) OVER (), 0),
    refusals::double precision / nullif(previous, 0) - 1
FROM sums;
