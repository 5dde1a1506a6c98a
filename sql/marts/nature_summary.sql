-- Key figures of sales, this month to date and in the same days of the previous month; open orders are those at
-- the end of each period's last day.
-- Grain: one row per period, even without sales. Source: marts nature_orders, nature_sales, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_summary_:build (
    period           text           NOT NULL,  -- current or previous
    applications     bigint         NOT NULL,  -- orders
    connected        bigint         NOT NULL,  -- orders
    lost             bigint         NOT NULL,  -- orders
    success          double precision,         -- connected / (connected + lost)
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- of the connected orders, roubles
    monthly_revenue  numeric(16, 2) NOT NULL,  -- of the connected orders, roubles per month
    median_days      double precision,         -- from application to connection, of the connected orders
    in_work          bigint         NOT NULL,  -- orders neither connected nor lost by the end of the period
    in_work_revenue  numeric(16, 2) NOT NULL   -- of these, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_summary_:build
WITH periods AS (
    SELECT 'current' AS period, month_start AS first_day, day AS last_day
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
    UNION ALL
    SELECT 'previous', previous_start, previous_end
    FROM (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
), sales AS (
    SELECT
        p.period,
        coalesce(sum(s.applications), 0) AS applications,
        coalesce(sum(s.connected), 0) AS connected,
        coalesce(sum(s.lost), 0) AS lost,
        coalesce(sum(s.units), 0) AS units,
        coalesce(sum(s.one_off_revenue), 0) AS one_off_revenue,
        coalesce(sum(s.monthly_revenue), 0) AS monthly_revenue
    FROM periods AS p
    LEFT JOIN crm_bot_mart_nature_sales_:build AS s ON s.day >= p.first_day AND s.day <= p.last_day
    GROUP BY p.period
), connections AS (
    SELECT
        p.period,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM o.status_at - o.applied_at)::double precision / 86400
        ) AS median_days
    FROM periods AS p
    JOIN crm_bot_mart_nature_orders_:build AS o
        ON o.status = 'connected' AND o.status_day >= p.first_day AND o.status_day <= p.last_day
    GROUP BY p.period
), work AS (
    SELECT p.period, count(*) AS orders, sum(o.monthly_revenue) AS monthly_revenue
    FROM periods AS p
    JOIN crm_bot_mart_nature_orders_:build AS o
        ON o.applied_day <= p.last_day
        AND (o.status NOT IN ('connected', 'lost') OR o.status_day > p.last_day)
    GROUP BY p.period
)
SELECT
    s.period,
    s.applications,
    s.connected,
    s.lost,
    s.connected::double precision / nullif(s.connected + s.lost, 0),
    s.units,
    s.one_off_revenue,
    s.monthly_revenue,
    c.median_days,
    coalesce(w.orders, 0),
    coalesce(w.monthly_revenue, 0)
FROM sales AS s
LEFT JOIN connections AS c ON c.period = s.period
LEFT JOIN work AS w ON w.period = s.period;
