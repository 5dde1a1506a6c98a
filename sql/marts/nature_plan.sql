-- Plan of the report's month: the last one loaded, or else a derived one, the whole previous month plus 10 per cent.
-- Empty if no plan was loaded and the data does not cover the whole previous month.
-- Grain: one row per branch, service and tariff. Source: crm_bot_plan_<mrf>, marts nature_sales, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_plan_:build (
    branch           text             NOT NULL,
    service          text             NOT NULL,
    tariff           text             NOT NULL,
    units            double precision NOT NULL,  -- to be connected in the month
    monthly_revenue  double precision NOT NULL,  -- of these connections, roubles per month
    is_derived       boolean          NOT NULL
)
:columnar;

INSERT INTO crm_bot_mart_nature_plan_:build
WITH loads AS (
    SELECT p.*, rank() OVER (ORDER BY p.loaded_at DESC) AS age
    FROM crm_bot_plan_:mrf AS p
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON p.month = r.month_start
), loaded AS (
    SELECT branch, service, tariff, sum(units) AS units, sum(monthly_revenue) AS monthly_revenue
    FROM loads
    WHERE age = 1
    GROUP BY branch, service, tariff
), derived AS (
    SELECT s.branch, s.service, s.tariff, sum(s.units) * 1.1 AS units, sum(s.monthly_revenue) * 1.1 AS monthly_revenue
    FROM crm_bot_mart_nature_sales_:build AS s
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON s.day >= r.previous_start AND s.day < r.month_start
    WHERE
        NOT EXISTS (SELECT 1 FROM loaded)
        AND (SELECT min(day) FROM crm_bot_mart_nature_sales_:build) <= r.previous_start
    GROUP BY s.branch, s.service, s.tariff
)
SELECT branch, service, tariff, units, monthly_revenue, false FROM loaded
UNION ALL
SELECT branch, service, tariff, units, monthly_revenue, true FROM derived;
