-- Sales by day in the MRF's time zone: what was applied for, connected and lost on that day; days without any are
-- there with zeros. Connected and lost orders are those whose present state is such.
-- Grain: one row per day. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_daily_:build (
    day              date           NOT NULL,
    applications     bigint         NOT NULL,
    connected        bigint         NOT NULL,
    lost             bigint         NOT NULL,
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- of the connected orders, roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- of the connected orders, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_daily_:build
WITH events AS (
    SELECT
        (applied_at AT TIME ZONE :'timezone')::date AS day,
        1 AS applications,
        0 AS connected,
        0 AS lost,
        0 AS units,
        0 AS one_off_revenue,
        0 AS monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    UNION ALL
    SELECT
        (status_at AT TIME ZONE :'timezone')::date,
        0,
        CASE status WHEN 'connected' THEN 1 ELSE 0 END,
        CASE status WHEN 'lost' THEN 1 ELSE 0 END,
        CASE status WHEN 'connected' THEN units ELSE 0 END,
        CASE status WHEN 'connected' THEN one_off_revenue ELSE 0 END,
        CASE status WHEN 'connected' THEN monthly_revenue ELSE 0 END
    FROM crm_bot_mart_nature_orders_:build
), totals AS (
    SELECT
        day,
        sum(applications) AS applications,
        sum(connected) AS connected,
        sum(lost) AS lost,
        sum(units) AS units,
        sum(one_off_revenue) AS one_off_revenue,
        sum(monthly_revenue) AS monthly_revenue
    FROM events
    GROUP BY day
), days AS (
    SELECT generate_series(min(day)::timestamp, max(day)::timestamp, interval '1 day')::date AS day
    FROM totals
)
SELECT
    d.day,
    coalesce(t.applications, 0),
    coalesce(t.connected, 0),
    coalesce(t.lost, 0),
    coalesce(t.units, 0),
    coalesce(t.one_off_revenue, 0),
    coalesce(t.monthly_revenue, 0)
FROM days AS d
LEFT JOIN totals AS t ON t.day = d.day;
