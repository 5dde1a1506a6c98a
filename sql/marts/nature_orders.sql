-- Orders of one MRF as of the end of the report's last day, with the time of each step.
-- Grain: one row per order. Source: crm_bot_nature_<mrf>, mart nature_order_states. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_orders_:build (
    order_id         text           NOT NULL,
    lead_id          text           NOT NULL,
    client_id        text           NOT NULL,
    segment          text           NOT NULL,
    manager_id       text           NOT NULL,
    manager_name     text           NOT NULL,
    branch           text           NOT NULL,
    city             text           NOT NULL,
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    units            integer        NOT NULL,
    status           text           NOT NULL,
    lost_reason      text,
    one_off_revenue  numeric(14, 2) NOT NULL,
    monthly_revenue  numeric(14, 2) NOT NULL,
    stage            integer        NOT NULL,  -- furthest: 1 application, 2 feasibility, 3 contract, 4 connected
    applied_at       timestamptz    NOT NULL,  -- time of the order's first step
    feasibility_at   timestamptz,              -- when it first reached this step or a later one
    contract_at      timestamptz,
    connected_at     timestamptz,
    status_at        timestamptz    NOT NULL,  -- start of its current state
    applied_day      date           NOT NULL,  -- applied_at and status_at as days in the MRF's time zone
    status_day       date           NOT NULL
)
:columnar_by_lead;

INSERT INTO crm_bot_mart_nature_orders_:build
SELECT
    n.order_id,
    n.lead_id,
    n.client_id,
    n.segment,
    n.manager_id,
    n.manager_name,
    n.branch,
    n.city,
    n.service,
    n.tariff,
    n.units,
    n.status,
    n.lost_reason,
    n.one_off_revenue,
    n.monthly_revenue,
    t.stage,
    t.applied_at,
    t.feasibility_at,
    t.contract_at,
    t.connected_at,
    n.occurred_at,
    (t.applied_at AT TIME ZONE :'timezone')::date,
    (n.occurred_at AT TIME ZONE :'timezone')::date
FROM crm_bot_nature_:mrf AS n
JOIN crm_bot_mart_nature_order_states_:build AS t
    ON t.order_id = n.order_id AND t.source_id = n.source_id AND t.transaction_id = n.transaction_id;
