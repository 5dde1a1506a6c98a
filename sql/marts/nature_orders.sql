-- Orders of one MRF in their present state, with the time of each step.
-- Grain: one row per order. The present state is the order's row with the greatest transaction_id; where a bot's
-- file was replaced, rows of the file in use (the one that wrote last) come before rows of the earlier one.
-- Source: crm_bot_nature_<mrf>. Refresh: made anew by every export.
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
    feasibility_at   timestamptz,
    contract_at      timestamptz,
    connected_at     timestamptz,
    status_at        timestamptz    NOT NULL   -- since when it is in its present state
)
:columnar;

INSERT INTO crm_bot_mart_nature_orders_:build
WITH sources AS (
    SELECT source_id, max(recorded_at) AS last_recorded_at
    FROM crm_bot_nature_:mrf
    GROUP BY source_id
), latest AS (
    SELECT
        n.*,
        row_number() OVER (
            PARTITION BY n.order_id ORDER BY s.last_recorded_at DESC, s.source_id, n.transaction_id DESC
        ) AS place
    FROM crm_bot_nature_:mrf AS n
    JOIN sources AS s ON s.source_id = n.source_id
), history AS (
    SELECT
        order_id,
        max(CASE status WHEN 'connected' THEN 4 WHEN 'contract' THEN 3 WHEN 'feasibility' THEN 2 ELSE 1 END) AS stage,
        min(occurred_at) AS applied_at,
        min(CASE WHEN status = 'feasibility' THEN occurred_at END) AS feasibility_at,
        min(CASE WHEN status = 'contract' THEN occurred_at END) AS contract_at,
        min(CASE WHEN status = 'connected' THEN occurred_at END) AS connected_at
    FROM crm_bot_nature_:mrf
    GROUP BY order_id
)
SELECT
    l.order_id,
    l.lead_id,
    l.client_id,
    l.segment,
    l.manager_id,
    l.manager_name,
    l.branch,
    l.city,
    l.service,
    l.tariff,
    l.units,
    l.status,
    l.lost_reason,
    l.one_off_revenue,
    l.monthly_revenue,
    h.stage,
    h.applied_at,
    h.feasibility_at,
    h.contract_at,
    h.connected_at,
    l.occurred_at
FROM latest AS l
JOIN history AS h ON h.order_id = l.order_id
WHERE l.place = 1;
