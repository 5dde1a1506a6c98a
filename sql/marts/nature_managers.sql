-- Leaderboard of managers by connections, this month to date and in the same days of the previous month.
-- Grain: one row per manager. Source: marts nature_sales, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_managers_:build (
    place                     bigint         NOT NULL,  -- by monthly revenue, then by units; ties share a place
    manager_id                text           NOT NULL,
    manager_name              text           NOT NULL,
    branch                    text           NOT NULL,
    applications              bigint         NOT NULL,  -- orders
    connected                 bigint         NOT NULL,  -- orders
    lost                      bigint         NOT NULL,  -- orders
    success                   double precision,         -- connected / (connected + lost)
    units                     bigint         NOT NULL,  -- connected
    one_off_revenue           numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue           numeric(16, 2) NOT NULL,  -- roubles per month
    monthly_revenue_previous  numeric(16, 2) NOT NULL,
    monthly_revenue_change    double precision          -- monthly_revenue / monthly_revenue_previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_nature_managers_:build
WITH periods AS (
    SELECT s.*, s.day >= r.month_start AS is_current
    FROM crm_bot_mart_nature_sales_:build AS s
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON s.day >= r.month_start OR (s.day >= r.previous_start AND s.day <= r.previous_end)
), sums AS (
    SELECT
        manager_id,
        max(manager_name) AS manager_name,
        max(branch) AS branch,
        coalesce(sum(applications) FILTER (WHERE is_current), 0) AS applications,
        coalesce(sum(connected) FILTER (WHERE is_current), 0) AS connected,
        coalesce(sum(lost) FILTER (WHERE is_current), 0) AS lost,
        coalesce(sum(units) FILTER (WHERE is_current), 0) AS units,
        coalesce(sum(one_off_revenue) FILTER (WHERE is_current), 0) AS one_off_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE is_current), 0) AS monthly_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE NOT is_current), 0) AS monthly_revenue_previous
    FROM periods
    GROUP BY manager_id
)
SELECT
    rank() OVER (ORDER BY monthly_revenue DESC, units DESC),
    manager_id,
    manager_name,
    branch,
    applications,
    connected,
    lost,
    connected::double precision / nullif(connected + lost, 0),
    units,
    one_off_revenue,
    monthly_revenue,
    monthly_revenue_previous,
    monthly_revenue::double precision / nullif(monthly_revenue_previous, 0)::double precision - 1
FROM sums;
