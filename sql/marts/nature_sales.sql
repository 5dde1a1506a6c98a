-- Orders applied for, connected and lost on each day; other marts aggregate it. An order counts as connected or lost
-- if that is its current state, on the day on which it reached that state.
-- Grain: one row per day, branch, manager, service and tariff. Source: mart nature_orders.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_sales_:build (
    day              date           NOT NULL,
    branch           text           NOT NULL,
    manager_id       text           NOT NULL,
    manager_name     text           NOT NULL,
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    applications     bigint         NOT NULL,  -- orders
    connected        bigint         NOT NULL,  -- orders
    lost             bigint         NOT NULL,  -- orders
    units            bigint         NOT NULL,  -- connected
    one_off_revenue  numeric(16, 2) NOT NULL,  -- of the connected orders, roubles
    monthly_revenue  numeric(16, 2) NOT NULL   -- of the connected orders, roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_sales_:build
WITH events AS (
    SELECT
        applied_day AS day,
        branch,
        manager_id,
        manager_name,
        service,
        tariff,
        'application' AS event,
        units,
        one_off_revenue,
        monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    UNION ALL
    SELECT
        status_day,
        branch,
        manager_id,
        manager_name,
        service,
        tariff,
        status,
        units,
        one_off_revenue,
        monthly_revenue
    FROM crm_bot_mart_nature_orders_:build
    WHERE status IN ('connected', 'lost')
)
SELECT
    day,
    branch,
    manager_id,
    max(manager_name),
    service,
    tariff,
    count(*) FILTER (WHERE event = 'application'),
    count(*) FILTER (WHERE event = 'connected'),
    count(*) FILTER (WHERE event = 'lost'),
    coalesce(sum(units) FILTER (WHERE event = 'connected'), 0),
    coalesce(sum(one_off_revenue) FILTER (WHERE event = 'connected'), 0),
    coalesce(sum(monthly_revenue) FILTER (WHERE event = 'connected'), 0)
FROM events
GROUP BY day, branch, manager_id, service, tariff;
