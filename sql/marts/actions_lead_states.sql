-- The row that is each lead's current state, and when the lead reached each step.
-- Grain: one row per lead. The current state is the lead's row with the greatest transaction_id; where a bot's
-- file was replaced, rows of the file in use (the one that wrote last) come before rows of the earlier one.
-- A separate mart, so that the planner knows the number of leads when it is joined: it underestimates how many rows
-- a filter on row_number() = 1 keeps.
-- Source: crm_bot_actions_<mrf>, mart report. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_lead_states_:build (
    lead_id         text        NOT NULL,
    source_id       uuid        NOT NULL,
    transaction_id  bigint      NOT NULL,
    actions         bigint      NOT NULL,
    stage           integer     NOT NULL,  -- 1 lead, 2 contact, 3 meeting or presentation, 4 offer, 5 order
    first_at        timestamptz NOT NULL,
    contact_at      timestamptz,           -- when it first reached this step or a later one
    meeting_at      timestamptz,
    offer_at        timestamptz,
    order_at        timestamptz,
    last_at         timestamptz NOT NULL
)
:columnar_by_lead;

INSERT INTO crm_bot_mart_actions_lead_states_:build
WITH steps AS (
    SELECT
        a.lead_id,
        a.source_id,
        a.transaction_id,
        a.occurred_at,
        a.recorded_at,
        CASE
            WHEN a.result = 'order_placed' THEN 5
            WHEN a.action = 'offer' THEN 4
            WHEN a.action IN ('meeting', 'presentation') THEN 3
            WHEN a.action IN ('call', 'message') AND a.result <> 'no_answer' THEN 2
            ELSE 1
        END AS stage
    FROM crm_bot_actions_:mrf AS a
    WHERE a.occurred_at < (SELECT until_at FROM crm_bot_mart_report_:build)
), histories AS (
    SELECT
        lead_id,
        source_id,
        max(transaction_id) AS transaction_id,
        count(*) AS actions,
        max(stage) AS stage,
        min(occurred_at) AS first_at,
        min(CASE WHEN stage >= 2 THEN occurred_at END) AS contact_at,
        min(CASE WHEN stage >= 3 THEN occurred_at END) AS meeting_at,
        min(CASE WHEN stage >= 4 THEN occurred_at END) AS offer_at,
        min(CASE WHEN stage = 5 THEN occurred_at END) AS order_at,
        max(occurred_at) AS last_at,
        max(recorded_at) AS recorded_at
    FROM steps
    GROUP BY lead_id, source_id
), sources AS (
    SELECT source_id, row_number() OVER (ORDER BY max(recorded_at) DESC, source_id) AS place
    FROM histories
    GROUP BY source_id
), states AS (
    SELECT
        h.lead_id,
        h.source_id,
        h.transaction_id,
        row_number() OVER (PARTITION BY h.lead_id ORDER BY s.place) AS place,
        sum(h.actions) OVER (PARTITION BY h.lead_id) AS actions,
        max(h.stage) OVER (PARTITION BY h.lead_id) AS stage,
        min(h.first_at) OVER (PARTITION BY h.lead_id) AS first_at,
        min(h.contact_at) OVER (PARTITION BY h.lead_id) AS contact_at,
        min(h.meeting_at) OVER (PARTITION BY h.lead_id) AS meeting_at,
        min(h.offer_at) OVER (PARTITION BY h.lead_id) AS offer_at,
        min(h.order_at) OVER (PARTITION BY h.lead_id) AS order_at,
        max(h.last_at) OVER (PARTITION BY h.lead_id) AS last_at
    FROM histories AS h
    JOIN sources AS s ON s.source_id = h.source_id
)
SELECT
    lead_id,
    source_id,
    transaction_id,
    actions,
    stage,
    first_at,
    contact_at,
    meeting_at,
    offer_at,
    order_at,
    last_at
FROM states
WHERE place = 1;
