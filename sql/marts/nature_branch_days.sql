-- Sales of each branch by day, in the trend weeks; days without sales have zeros.
-- Grain: one row per branch and day. Source: marts nature_sales, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_branch_days_:build (
    branch           text           NOT NULL,
    day              date           NOT NULL,
    applications     bigint         NOT NULL,  -- orders
    connected        bigint         NOT NULL,  -- orders
    lost             bigint         NOT NULL,  -- orders
    units            bigint         NOT NULL,  -- connected
    monthly_revenue  numeric(16, 2) NOT NULL   -- of the connected orders, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_branch_days_:build
WITH days AS (
    SELECT generate_series(trend_start::timestamp, day::timestamp, interval '1 day')::date AS day
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
), branches AS (
    SELECT DISTINCT s.branch
    FROM crm_bot_mart_nature_sales_:build AS s
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON s.day >= r.trend_start
)
SELECT
    b.branch,
    d.day,
    coalesce(sum(s.applications), 0),
    coalesce(sum(s.connected), 0),
    coalesce(sum(s.lost), 0),
    coalesce(sum(s.units), 0),
    coalesce(sum(s.monthly_revenue), 0)
FROM branches AS b
CROSS JOIN days AS d
LEFT JOIN crm_bot_mart_nature_sales_:build AS s ON s.branch = b.branch AND s.day = d.day
GROUP BY b.branch, d.day;
