-- Leaderboard of managers; units and revenue are those of the connected orders.
-- Grain: one row per manager. Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_managers_:build (
    place            bigint         NOT NULL,  -- by monthly revenue, then by units; equals share a place
    manager_id       text           NOT NULL,
    manager_name     text           NOT NULL,
    branch           text           NOT NULL,
    orders           bigint         NOT NULL,
    connected        bigint         NOT NULL,
    conversion       double precision,         -- connected / orders
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_managers_:build
WITH managers AS (
    SELECT
        manager_id,
        max(manager_name) AS manager_name,
        max(branch) AS branch,
        count(*) AS orders,
        count(*) FILTER (WHERE status = 'connected') AS connected,
        coalesce(sum(units) FILTER (WHERE status = 'connected'), 0) AS units,
        coalesce(sum(one_off_revenue) FILTER (WHERE status = 'connected'), 0) AS one_off_revenue,
        coalesce(sum(monthly_revenue) FILTER (WHERE status = 'connected'), 0) AS monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    GROUP BY manager_id
)
SELECT
    rank() OVER (ORDER BY monthly_revenue DESC, units DESC),
    manager_id,
    manager_name,
    branch,
    orders,
    connected,
    connected::double precision / orders,
    units,
    one_off_revenue,
    monthly_revenue
FROM managers;
