-- Why orders are lost.
-- Grain: one row per reason. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_losses_:build (
    reason           text           NOT NULL,
    orders           bigint         NOT NULL,
    share            double precision,         -- of all lost orders
    units            bigint         NOT NULL,
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_losses_:build
SELECT
    reason,
    orders,
    orders::double precision / sum(orders) OVER (),
    units,
    monthly_revenue
FROM (
    SELECT
        coalesce(lost_reason, 'Не указана') AS reason,
        count(*) AS orders,
        sum(units) AS units,
        sum(monthly_revenue) AS monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    WHERE status = 'lost'
    GROUP BY 1
) AS losses;
