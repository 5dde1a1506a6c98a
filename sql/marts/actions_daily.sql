-- Activity by day in the MRF's time zone; days without any are there with zeros.
-- Grain: one row per day. Source: crm_bot_actions_<mrf>. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_daily_:build (
    day               date           NOT NULL,
    actions           bigint         NOT NULL,
    managers          bigint         NOT NULL,  -- who did at least one thing
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    refusals          bigint         NOT NULL,
    leads_potential   numeric(16, 2) NOT NULL,  -- of the leads created, roubles per month
    orders_potential  numeric(16, 2) NOT NULL   -- of the orders placed, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_daily_:build
WITH activity AS (
    SELECT
        (occurred_at AT TIME ZONE :'timezone')::date AS day,
        count(*) AS actions,
        count(DISTINCT manager_id) AS managers,
        sum(CASE WHEN action = 'lead_created' THEN 1 ELSE 0 END) AS leads,
        sum(CASE WHEN result = 'order_placed' THEN 1 ELSE 0 END) AS orders,
        sum(CASE WHEN result = 'refused' THEN 1 ELSE 0 END) AS refusals,
        sum(CASE WHEN action = 'lead_created' THEN potential_revenue ELSE 0 END) AS leads_potential,
        sum(CASE WHEN result = 'order_placed' THEN potential_revenue ELSE 0 END) AS orders_potential
    FROM crm_bot_actions_:mrf
    GROUP BY 1
), days AS (
    SELECT generate_series(min(day)::timestamp, max(day)::timestamp, interval '1 day')::date AS day
    FROM activity
)
SELECT
    d.day,
    coalesce(a.actions, 0),
    coalesce(a.managers, 0),
    coalesce(a.leads, 0),
    coalesce(a.orders, 0),
    coalesce(a.refusals, 0),
    coalesce(a.leads_potential, 0),
    coalesce(a.orders_potential, 0)
FROM days AS d
LEFT JOIN activity AS a ON a.day = d.day;
