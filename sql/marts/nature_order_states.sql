-- The row that is each order's current state, and when the order reached each step.
-- Grain: one row per order. The current state is the order's row with the greatest transaction_id; where a bot's
-- file was replaced, rows of the file in use (the one that wrote last) come before rows of the earlier one.
-- A separate mart for the planner, like actions_lead_states.
-- Source: crm_bot_nature_<mrf>, mart report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_nature_order_states_:build (
    order_id        text        NOT NULL,
    source_id       uuid        NOT NULL,
    transaction_id  bigint      NOT NULL,
    stage           integer     NOT NULL,  -- furthest: 1 application, 2 feasibility, 3 contract, 4 connected
    applied_at      timestamptz NOT NULL,  -- time of the order's first step
    feasibility_at  timestamptz,           -- when it first reached this step or a later one
    contract_at     timestamptz,
    connected_at    timestamptz
)
:columnar_by_order;

INSERT INTO crm_bot_mart_nature_order_states_:build
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
        h.order_id,
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
    order_id,
    source_id,
    transaction_id,
    stage,
    applied_at,
    feasibility_at,
    contract_at,
    connected_at
FROM states
WHERE place = 1;
