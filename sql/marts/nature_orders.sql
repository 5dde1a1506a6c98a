-- Orders of one MRF in their state at the end of the report's last day, with the time of each step.
-- Grain: one row per order. The present state is the order's row with the greatest transaction_id; where a bot's
-- file was replaced, rows of the file in use (the one that wrote last) come before rows of the earlier one.
-- Source: crm_bot_nature_<mrf>, mart report. Refresh: made anew by every export.
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
    feasibility_at   timestamptz,              -- when it first was at this step or beyond
    contract_at      timestamptz,
    connected_at     timestamptz,
    status_at        timestamptz    NOT NULL,  -- since when it is in its present state
    applied_day      date           NOT NULL,  -- the days of the two in the MRF's time zone
    status_day       date           NOT NULL
)
:columnar;

INSERT INTO crm_bot_mart_nature_orders_:build
WITH steps AS (
    SELECT
        n.order_id,
        n.source_id,
        n.transaction_id,
        n.occurred_at,
        n.recorded_at,
        CASE n.status WHEN 'connected' THEN 4 WHEN 'contract' THEN 3 WHEN 'feasibility' THEN 2 ELSE 1 END AS stage
    FROM crm_bot_nature_:mrf AS n
    WHERE n.occurred_at < (SELECT until_at FROM crm_bot_mart_report_:build)
), histories AS (
    SELECT
        order_id,
        source_id,
        max(transaction_id) AS transaction_id,
        max(stage) AS stage,
        min(occurred_at) AS applied_at,
        min(CASE WHEN stage >= 2 THEN occurred_at END) AS feasibility_at,
        min(CASE WHEN stage >= 3 THEN occurred_at END) AS contract_at,
        min(CASE WHEN stage = 4 THEN occurred_at END) AS connected_at,
        max(recorded_at) AS recorded_at
    FROM steps
    GROUP BY order_id, source_id
), sources AS (
    SELECT source_id, row_number() OVER (ORDER BY max(recorded_at) DESC, source_id) AS place
    FROM histories
    GROUP BY source_id
), states AS (
    SELECT
        h.source_id,
        h.transaction_id,
        row_number() OVER (PARTITION BY h.order_id ORDER BY s.place) AS place,
        max(h.stage) OVER (PARTITION BY h.order_id) AS stage,
        min(h.applied_at) OVER (PARTITION BY h.order_id) AS applied_at,
        min(h.feasibility_at) OVER (PARTITION BY h.order_id) AS feasibility_at,
        min(h.contract_at) OVER (PARTITION BY h.order_id) AS contract_at,
        min(h.connected_at) OVER (PARTITION BY h.order_id) AS connected_at
    FROM histories AS h
    JOIN sources AS s ON s.source_id = h.source_id
)
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
JOIN states AS t ON t.source_id = n.source_id AND t.transaction_id = n.transaction_id
WHERE t.place = 1;
