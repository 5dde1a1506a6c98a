-- Services of each branch: sales of this month to date against the month's plan and the previous month's same days.
-- Grain: one row per branch and service. Source: mart nature_plan_fact. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_branch_services_:build (
    branch                    text           NOT NULL,
    service                   text           NOT NULL,
    applications              bigint         NOT NULL,  -- orders
    connected                 bigint         NOT NULL,  -- orders
    lost                      bigint         NOT NULL,  -- orders
    success                   double precision,         -- connected / (connected + lost)
    units                     bigint         NOT NULL,  -- connected
    units_plan                double precision,         -- null without a plan
    units_done                double precision,         -- units / units_plan
    units_forecast            double precision NOT NULL,  -- of the whole month at the pace so far
    one_off_revenue           numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue           numeric(16, 2) NOT NULL,  -- roubles per month
    monthly_revenue_plan      double precision,
    monthly_revenue_done      double precision,         -- monthly_revenue / monthly_revenue_plan
    monthly_revenue_forecast  double precision NOT NULL,
    units_previous            bigint         NOT NULL,
    monthly_revenue_previous  numeric(16, 2) NOT NULL,
    monthly_revenue_change    double precision          -- monthly_revenue / monthly_revenue_previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_nature_branch_services_:build
SELECT
    branch,
    service,
    sum(applications),
    sum(connected),
    sum(lost),
    sum(connected)::double precision / nullif(sum(connected) + sum(lost), 0),
    sum(units),
    sum(units_plan),
    sum(units)::double precision / nullif(sum(units_plan), 0),
    sum(units_forecast),
    sum(one_off_revenue),
    sum(monthly_revenue),
    sum(monthly_revenue_plan),
    sum(monthly_revenue)::double precision / nullif(sum(monthly_revenue_plan), 0),
    sum(monthly_revenue_forecast),
    sum(units_previous),
    sum(monthly_revenue_previous),
    sum(monthly_revenue)::double precision / nullif(sum(monthly_revenue_previous), 0)::double precision - 1
FROM crm_bot_mart_nature_plan_fact_:build
GROUP BY branch, service;
