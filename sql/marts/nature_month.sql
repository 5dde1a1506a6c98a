-- Cumulative month by day: fact, previous month, plan spread evenly over the days, and from the report's last day
-- on the forecast, at the pace so far.
-- Grain: one row per day of the month. Source: marts nature_sales, nature_plan, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_month_:build (
    day              date           NOT NULL,
    units            numeric(16, 2),           -- connected so far; null after the report's last day
    monthly_revenue  numeric(16, 2),           -- of connections so far, roubles per month
    previous         numeric(16, 2),           -- monthly_revenue of the previous month, up to the same day
    plan             double precision,         -- monthly_revenue planned up to this day; null without a plan
    forecast         double precision,         -- monthly_revenue expected up to this day; null before the last day
    is_plan_derived  boolean                   -- see nature_plan; null without a plan
)
:columnar;

INSERT INTO crm_bot_mart_nature_month_:build
WITH days AS (
    SELECT
        n.number,
        r.month_start + n.number - 1 AS day,
        r.previous_start + n.number - 1 AS previous_day,
        r.day AS last_day,
        r.month_start,
        r.days,
        r.month_days
    FROM generate_series(1, 31) AS n (number)
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON n.number <= r.month_days
), totals AS (
    SELECT day, sum(units) AS units, sum(monthly_revenue) AS monthly_revenue
    FROM crm_bot_mart_nature_sales_:build
    GROUP BY day
), sums AS (
    SELECT
        d.*,
        sum(coalesce(t.units, 0)) OVER (ORDER BY d.number) AS units,
        sum(coalesce(t.monthly_revenue, 0)) OVER (ORDER BY d.number) AS monthly_revenue,
        sum(CASE WHEN d.previous_day < d.month_start THEN coalesce(p.monthly_revenue, 0) END)
            OVER (ORDER BY d.number) AS previous
    FROM days AS d
    LEFT JOIN totals AS t ON t.day = d.day
    LEFT JOIN totals AS p ON p.day = d.previous_day
), planned AS (
    SELECT sum(monthly_revenue) AS monthly_revenue, max(CASE WHEN is_derived THEN 1 ELSE 0 END) = 1 AS is_derived
    FROM crm_bot_mart_nature_plan_:build
)
SELECT
    s.day,
    CASE WHEN s.day <= s.last_day THEN s.units END,
    CASE WHEN s.day <= s.last_day THEN s.monthly_revenue END,
    s.previous,
    p.monthly_revenue * s.number / s.month_days,
    CASE WHEN s.day >= s.last_day THEN s.monthly_revenue::double precision * s.number / s.days END,
    p.is_derived
FROM sums AS s
CROSS JOIN planned AS p;
