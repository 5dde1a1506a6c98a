-- Products that leads are interested in; a lead's product is that of its last action.
-- Grain: one row per product. Source: mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_products_:build (
    product           text           NOT NULL,
    leads             bigint         NOT NULL,
    orders            bigint         NOT NULL,  -- leads that placed an order
    conversion        double precision,         -- orders / leads
    potential         numeric(16, 2) NOT NULL,  -- of all leads, roubles per month
    orders_potential  numeric(16, 2) NOT NULL   -- of the leads that placed an order
)
:columnar;

INSERT INTO crm_bot_mart_actions_products_:build
SELECT
    product,
    count(*),
    count(*) FILTER (WHERE stage = 5),
    count(*) FILTER (WHERE stage = 5)::double precision / count(*),
    sum(potential_revenue),
    coalesce(sum(potential_revenue) FILTER (WHERE stage = 5), 0)
FROM crm_bot_mart_actions_leads_:build
GROUP BY product;
