-- Branches side by side; units and revenue are those of the connected orders.
-- Grain: one row per branch. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_branches_:build (
    branch           text           NOT NULL,
    orders           bigint         NOT NULL,
    connected        bigint         NOT NULL,
    in_work          bigint         NOT NULL,  -- neither connected nor lost
    lost             bigint         NOT NULL,
    conversion       double precision,         -- connected / orders
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_branches_:build
SELECT
    branch,
    count(*),
    count(*) FILTER (WHERE status = 'connected'),
    count(*) FILTER (WHERE status NOT IN ('connected', 'lost')),
    count(*) FILTER (WHERE status = 'lost'),
    count(*) FILTER (WHERE status = 'connected')::double precision / count(*),
    coalesce(sum(units) FILTER (WHERE status = 'connected'), 0),
    coalesce(sum(one_off_revenue) FILTER (WHERE status = 'connected'), 0),
    coalesce(sum(monthly_revenue) FILTER (WHERE status = 'connected'), 0)
FROM crm_bot_mart_nature_orders_:build
GROUP BY branch;
