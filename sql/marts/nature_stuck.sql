-- Stuck orders: open, and at their current step for more than 14 days.
-- Grain: one row per order. Source: marts nature_orders, report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_stuck_:build (
    order_id         text           NOT NULL,
    branch           text           NOT NULL,
    manager_name     text           NOT NULL,
    client_id        text           NOT NULL,
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    status           text           NOT NULL,
    status_day       date           NOT NULL,  -- start of this step, in the MRF's time zone
    days             integer        NOT NULL,  -- at this step
    units            integer        NOT NULL,
    monthly_revenue  numeric(14, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_nature_stuck_:build
SELECT
    o.order_id,
    o.branch,
    o.manager_name,
    o.client_id,
    o.service,
    o.tariff,
    o.status,
    o.status_day,
    r.day - o.status_day,
    o.units,
    o.monthly_revenue
FROM crm_bot_mart_nature_orders_:build AS o
JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON r.day - o.status_day > 14
WHERE o.status NOT IN ('connected', 'lost');
