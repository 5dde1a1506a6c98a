-- From lead to connection: outcomes of the leads of each week, across both streams. An order belongs to the week in
-- which its lead was created. conversion_14, _28 and _56 count connections within that many days of the lead's creation
-- and are null until every lead of the week is that old.
-- Grain: one row per trend week (its Monday). Source: marts actions_leads, nature_orders, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_cohorts_:build (
    week             date           NOT NULL,
    leads            bigint         NOT NULL,  -- created in the week
    ordered          bigint         NOT NULL,  -- leads with at least one order
    connected        bigint         NOT NULL,  -- leads with at least one connected order
    in_work          bigint         NOT NULL,  -- the other leads with an order that is neither connected nor lost
    lost             bigint         NOT NULL,  -- the other leads with an order, all lost
    conversion       double precision,         -- connected / leads, until the report's last day
    conversion_14    double precision,         -- connected within 14 days of the lead's creation / leads
    conversion_28    double precision,
    conversion_56    double precision,
    median_days      double precision,         -- from the lead's creation to its first connection
    monthly_revenue  numeric(16, 2) NOT NULL   -- of the connected orders, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_cohorts_:build
WITH orders AS (
    SELECT
        lead_id,
        count(*) AS orders,
        count(*) FILTER (WHERE status = 'connected') AS connected,
        count(*) FILTER (WHERE status NOT IN ('connected', 'lost')) AS in_work,
        min(CASE WHEN status = 'connected' THEN status_at END) AS connected_at,
        coalesce(sum(monthly_revenue) FILTER (WHERE status = 'connected'), 0) AS monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    GROUP BY lead_id
), leads AS (
    SELECT
        date_trunc('week', l.first_at AT TIME ZONE :'timezone')::date AS week,
        coalesce(o.orders, 0) AS orders,
        coalesce(o.connected, 0) AS connected,
        coalesce(o.in_work, 0) AS in_work,
        extract(epoch FROM o.connected_at - l.first_at)::double precision / 86400 AS days,
        o.monthly_revenue
    FROM crm_bot_mart_actions_leads_:build AS l
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON l.first_at >= r.trend_start::timestamp AT TIME ZONE :'timezone'
    LEFT JOIN orders AS o ON o.lead_id = l.lead_id
), weeks AS (
    SELECT
        week,
        count(*) AS leads,
        count(*) FILTER (WHERE orders > 0) AS ordered,
        count(*) FILTER (WHERE connected > 0) AS connected,
        count(*) FILTER (WHERE connected = 0 AND in_work > 0) AS in_work,
        count(*) FILTER (WHERE orders > 0 AND connected = 0 AND in_work = 0) AS lost,
        count(*) FILTER (WHERE days <= 14) AS connected_14,
        count(*) FILTER (WHERE days <= 28) AS connected_28,
        count(*) FILTER (WHERE days <= 56) AS connected_56,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY days) AS median_days,
        coalesce(sum(monthly_revenue), 0) AS monthly_revenue
    FROM leads
    GROUP BY week
)
SELECT
    w.week,
    w.leads,
    w.ordered,
    w.connected,
    w.in_work,
    w.lost,
    w.connected::double precision / w.leads,
    CASE WHEN w.week + 6 + 14 <= r.day THEN w.connected_14::double precision / w.leads END,
    CASE WHEN w.week + 6 + 28 <= r.day THEN w.connected_28::double precision / w.leads END,
    CASE WHEN w.week + 6 + 56 <= r.day THEN w.connected_56::double precision / w.leads END,
    w.median_days,
    w.monthly_revenue
FROM weeks AS w
CROSS JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r;
