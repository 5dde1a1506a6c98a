-- Leads of one MRF in their present state: who works on each, how far it got, what it could bring.
-- Grain: one row per lead. The present state is the lead's row with the greatest transaction_id; where a bot's
-- file was replaced, rows of the file in use (the one that wrote last) come before rows of the earlier one.
-- Source: crm_bot_actions_<mrf>. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_leads_:build (
    lead_id            text           NOT NULL,
    client_id          text           NOT NULL,
    client_name        text           NOT NULL,
    segment            text           NOT NULL,
    manager_id         text           NOT NULL,
    manager_name       text           NOT NULL,
    branch             text           NOT NULL,
    city               text           NOT NULL,
    product            text           NOT NULL,
    first_at           timestamptz    NOT NULL,
    last_at            timestamptz    NOT NULL,
    actions            bigint         NOT NULL,
    stage              integer        NOT NULL,  -- 1 lead, 2 contact, 3 meeting or presentation, 4 offer, 5 order
    last_result        text           NOT NULL,
    refusal_reason     text,
    potential_revenue  numeric(14, 2) NOT NULL   -- roubles per month
)
:columnar;

INSERT INTO crm_bot_mart_actions_leads_:build
WITH sources AS (
    SELECT source_id, max(recorded_at) AS last_recorded_at
    FROM crm_bot_actions_:mrf
    GROUP BY source_id
), latest AS (
    SELECT
        a.*,
        row_number() OVER (
            PARTITION BY a.lead_id ORDER BY s.last_recorded_at DESC, s.source_id, a.transaction_id DESC
        ) AS place
    FROM crm_bot_actions_:mrf AS a
    JOIN sources AS s ON s.source_id = a.source_id
), history AS (
    SELECT
        lead_id,
        min(occurred_at) AS first_at,
        max(occurred_at) AS last_at,
        count(*) AS actions,
        max(CASE
            WHEN result = 'order_placed' THEN 5
            WHEN action = 'offer' THEN 4
            WHEN action IN ('meeting', 'presentation') THEN 3
            WHEN action IN ('call', 'message') AND result <> 'no_answer' THEN 2
            ELSE 1
        END) AS stage
    FROM crm_bot_actions_:mrf
    GROUP BY lead_id
)
SELECT
    l.lead_id,
    l.client_id,
    l.client_name,
    l.segment,
    l.manager_id,
    l.manager_name,
    l.branch,
    l.city,
    l.product,
    h.first_at,
    h.last_at,
    h.actions,
    h.stage,
    l.result,
    l.refusal_reason,
    l.potential_revenue
FROM latest AS l
JOIN history AS h ON h.lead_id = l.lead_id
WHERE l.place = 1;
