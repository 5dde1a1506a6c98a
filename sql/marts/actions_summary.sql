-- Key figures of managers' activity, this month to date and in the same days of the previous month.
-- Grain: one row per period, even without activity. Source: marts actions_activity, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_summary_:build (
    period            text           NOT NULL,  -- current or previous
    actions           bigint         NOT NULL,
    managers          bigint         NOT NULL,  -- with at least one action
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    conversion        double precision,         -- orders / leads
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL,  -- of the orders placed, roubles per month
    actions_per_lead  double precision          -- actions / leads
)
:columnar;

INSERT INTO crm_bot_mart_actions_summary_:build
WITH periods AS (
    SELECT 'current' AS period, month_start AS first_day, day AS last_day
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
    UNION ALL
    SELECT 'previous', previous_start, previous_end
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
), sums AS (
    SELECT
        p.period,
        coalesce(sum(a.actions), 0) AS actions,
        count(DISTINCT a.manager_id) AS managers,
        coalesce(sum(a.leads), 0) AS leads,
        coalesce(sum(a.orders), 0) AS orders,
        coalesce(sum(a.refusals), 0) AS refusals,
        coalesce(sum(a.orders_potential), 0) AS orders_potential
    FROM periods AS p
    LEFT JOIN crm_bot_mart_actions_activity_:build AS a ON a.day >= p.first_day AND a.day <= p.last_day
    GROUP BY p.period
)
SELECT
    period,
    actions,
    managers,
    leads,
    orders,
    orders::double precision / nullif(leads, 0),
    refusals,
    orders_potential,
    actions::double precision / nullif(leads, 0)
FROM sums;
