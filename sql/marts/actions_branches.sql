-- Comparison of branches: this month to date, and the same days of the previous month.
-- Grain: one row per branch. Source: marts actions_activity, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_branches_:build (
    branch                     text           NOT NULL,
    managers                   bigint         NOT NULL,
    actions                    bigint         NOT NULL,
    leads                      bigint         NOT NULL,  -- leads created
    orders                     bigint         NOT NULL,  -- orders placed
    conversion                 double precision,         -- orders / leads
    refusals                   bigint         NOT NULL,
    orders_potential           numeric(16, 2) NOT NULL,  -- roubles per month
    actions_previous           bigint         NOT NULL,
    leads_previous             bigint         NOT NULL,
    orders_previous            bigint         NOT NULL,
    conversion_previous        double precision,         -- orders_previous / leads_previous
    refusals_previous          bigint         NOT NULL,
    orders_potential_previous  numeric(16, 2) NOT NULL,
    orders_change              double precision          -- orders / orders_previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_actions_branches_:build
WITH periods AS (
    SELECT a.*, a.day >= r.month_start AS is_current
    FROM crm_bot_mart_actions_activity_:build AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON a.day >= r.month_start OR (a.day >= r.previous_start AND a.day <= r.previous_end)
), sums AS (
    SELECT
        branch,
        count(DISTINCT manager_id) FILTER (WHERE is_current) AS managers,
        coalesce(sum(actions) FILTER (WHERE is_current), 0) AS actions,
        coalesce(sum(leads) FILTER (WHERE is_current), 0) AS leads,
        coalesce(sum(orders) FILTER (WHERE is_current), 0) AS orders,
        coalesce(sum(refusals) FILTER (WHERE is_current), 0) AS refusals,
        coalesce(sum(orders_potential) FILTER (WHERE is_current), 0) AS orders_potential,
        coalesce(sum(actions) FILTER (WHERE NOT is_current), 0) AS actions_previous,
        coalesce(sum(leads) FILTER (WHERE NOT is_current), 0) AS leads_previous,
        coalesce(sum(orders) FILTER (WHERE NOT is_current), 0) AS orders_previous,
        coalesce(sum(refusals) FILTER (WHERE NOT is_current), 0) AS refusals_previous,
        coalesce(sum(orders_potential) FILTER (WHERE NOT is_current), 0) AS orders_potential_previous
    FROM periods
    GROUP BY branch
)
SELECT
    branch,
    managers,
    actions,
    leads,
    orders,
    orders::double precision / nullif(leads, 0),
    refusals,
    orders_potential,
    actions_previous,
    leads_previous,
    orders_previous,
    orders_previous::double precision / nullif(leads_previous, 0),
    refusals_previous,
    orders_potential_previous,
    orders::double precision / nullif(orders_previous, 0) - 1
FROM sums;
