-- Sales by day; days without sales have zeros.
-- Grain: one row per day. Source: marts nature_sales, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_daily_:build (
    day              date           NOT NULL,
    applications     bigint         NOT NULL,  -- orders
    connected        bigint         NOT NULL,  -- orders
    lost             bigint         NOT NULL,  -- orders
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- of the connected orders, roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- of the connected orders, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_daily_:build
WITH days AS (
    SELECT generate_series(min(s.day)::timestamp, max(r.day)::timestamp, interval '1 day')::date AS day
    FROM crm_bot_mart_nature_sales_:build AS s
    CROSS JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
)
SELECT
    d.day,
    coalesce(sum(s.applications), 0),
    coalesce(sum(s.connected), 0),
    coalesce(sum(s.lost), 0),
    coalesce(sum(s.units), 0),
    coalesce(sum(s.one_off_revenue), 0),
    coalesce(sum(s.monthly_revenue), 0)
FROM days AS d
LEFT JOIN crm_bot_mart_nature_sales_:build AS s ON s.day = d.day
GROUP BY d.day;
