-- Tariffs: orders, connected units and revenue of the connected orders.
-- Grain: one row per service and tariff. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_tariffs_:build (
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    orders           bigint         NOT NULL,
    connected        bigint         NOT NULL,
    conversion       double precision,         -- connected / orders
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_tariffs_:build
SELECT
    service,
    tariff,
    count(*),
    count(*) FILTER (WHERE status = 'connected'),
    count(*) FILTER (WHERE status = 'connected')::double precision / count(*),
    coalesce(sum(units) FILTER (WHERE status = 'connected'), 0),
    coalesce(sum(one_off_revenue) FILTER (WHERE status = 'connected'), 0),
    coalesce(sum(monthly_revenue) FILTER (WHERE status = 'connected'), 0)
FROM crm_bot_mart_nature_orders_:build
GROUP BY service, tariff;
