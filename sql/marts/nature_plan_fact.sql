-- Sales of this month to date and of the same days of the previous month, with the plan of the month.
-- Grain: one row per branch, service and tariff. Source: marts nature_sales, nature_plan, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_plan_fact_:build (
    branch                    text           NOT NULL,
    service                   text           NOT NULL,
    tariff                    text           NOT NULL,
    applications              bigint         NOT NULL,  -- orders
    connected                 bigint         NOT NULL,  -- orders
    lost                      bigint         NOT NULL,  -- orders
    units                     bigint         NOT NULL,  -- connected
    units_previous            bigint         NOT NULL,
    units_plan                double precision,         -- null without a plan
    units_forecast            double precision NOT NULL,  -- of the whole month at the pace so far
    one_off_revenue           numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue           numeric(16, 2) NOT NULL,  -- roubles per month
    monthly_revenue_previous  numeric(16, 2) NOT NULL,
    monthly_revenue_plan      double precision,
    monthly_revenue_forecast  double precision NOT NULL
)
:columnar;

INSERT INTO crm_bot_mart_nature_plan_fact_:build
WITH lines AS (
    SELECT
        s.branch,
        s.service,
        s.tariff,
        s.day >= r.month_start AS is_current,
        s.applications,
        s.connected,
        s.lost,
        s.units,
        s.one_off_revenue,
        s.monthly_revenue,
        NULL::double precision AS units_plan,
        NULL::double precision AS monthly_revenue_plan
    FROM crm_bot_mart_nature_sales_:build AS s
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON s.day >= r.month_start OR (s.day >= r.previous_start AND s.day <= r.previous_end)
    UNION ALL
    SELECT branch, service, tariff, NULL, 0, 0, 0, 0, 0, 0, units, monthly_revenue
    FROM crm_bot_mart_nature_plan_:build
), sums AS (
    SELECT
        branch,
        service,
        tariff,
        coalesce(sum(applications) FILTER (WHERE is_current), 0) AS applications,
        coalesce(sum(connected) FILTER (WHERE is_current), 0) AS connected,
        coalesce(sum(lost) FILTER (WHERE is_current), 0) AS lost,
        coalesce(sum(units) FILTER (WHERE is_current), 0) AS units,
        coalesce(sum(units) FILTER (WHERE NOT is_current), 0) AS units_previous,
        sum(units_plan) AS units_plan,
        coalesce(sum(one_off_revenue) FILTER (WHERE is_current), 0) AS one_off_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE is_current), 0) AS monthly_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE NOT is_current), 0) AS monthly_revenue_previous,
        sum(monthly_revenue_plan) AS monthly_revenue_plan
    FROM lines
    GROUP BY branch, service, tariff
)
SELECT
    s.branch,
    s.service,
    s.tariff,
    s.applications,
    s.connected,
    s.lost,
    s.units,
    s.units_previous,
    s.units_plan,
    s.units::double precision * r.month_days / r.days,
    s.one_off_revenue,
    s.monthly_revenue,
    s.monthly_revenue_previous,
    s.monthly_revenue_plan,
    s.monthly_revenue::double precision * r.month_days / r.days
FROM sums AS s
CROSS JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r;
