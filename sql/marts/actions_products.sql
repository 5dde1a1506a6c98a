-- Products: leads created, orders placed and refusals of this month to date, orders also of the previous month.
-- Grain: one row per product. Source: crm_bot_actions_<mrf>, mart report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_products_:build (
    product           text           NOT NULL,
    leads             bigint         NOT NULL,  -- leads created
    orders            bigint         NOT NULL,  -- orders placed
    conversion        double precision,         -- orders / leads
    refusals          bigint         NOT NULL,
    orders_potential  numeric(16, 2) NOT NULL,  -- of the orders placed, roubles per month
    orders_previous   bigint         NOT NULL,
    orders_change     double precision          -- orders / orders_previous - 1
)
:columnar;

INSERT INTO crm_bot_mart_actions_products_:build
WITH periods AS (
    SELECT
        a.product,
        a.action,
        a.result,
        a.potential_revenue,
        (a.occurred_at AT TIME ZONE :'timezone')::date >= r.month_start AS is_current,
        (a.occurred_at AT TIME ZONE :'timezone')::date <= r.previous_end AS is_previous
    FROM crm_bot_actions_:mrf AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r
        ON a.occurred_at >= r.previous_start::timestamp AT TIME ZONE :'timezone' AND a.occurred_at < r.until_at
), sums AS (
    SELECT
        product,
        count(*) FILTER (WHERE is_current AND action = 'lead_created') AS leads,
        count(*) FILTER (WHERE is_current AND result = 'order_placed') AS orders,
        count(*) FILTER (WHERE is_current AND result = 'refused') AS refusals,
        coalesce(sum(potential_revenue) FILTER (WHERE is_current AND result = 'order_placed'), 0) AS orders_potential,
        count(*) FILTER (WHERE is_previous AND result = 'order_placed') AS orders_previous
    FROM periods
    WHERE is_current OR is_previous
    GROUP BY product
)
SELECT
    product,
    leads,
    orders,
    orders::double precision / nullif(leads, 0),
    refusals,
    orders_potential,
    orders_previous,
    orders::double precision / nullif(orders_previous, 0) - 1
FROM sums;
