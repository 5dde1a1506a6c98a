-- Leads of one MRF as of the end of the report's last day: the manager of each, and when it reached each step.
-- Grain: one row per lead. Source: crm_bot_actions_<mrf>, mart actions_lead_states. Refresh: rebuilt by every export.
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
    last_result        text           NOT NULL,
    refusal_reason     text,
    potential_revenue  numeric(14, 2) NOT NULL,  -- roubles per month
    actions            bigint         NOT NULL,
    stage              integer        NOT NULL,  -- 1 lead, 2 contact, 3 meeting or presentation, 4 offer, 5 order
    first_at           timestamptz    NOT NULL,
    contact_at         timestamptz,              -- when it first reached this step or a later one
    meeting_at         timestamptz,
    offer_at           timestamptz,
    order_at           timestamptz,
    last_at            timestamptz    NOT NULL
)
:columnar_by_lead;

INSERT INTO crm_bot_mart_actions_leads_:build
SELECT
    a.lead_id,
    a.client_id,
    a.client_name,
    a.segment,
    a.manager_id,
    a.manager_name,
    a.branch,
    a.city,
    a.product,
    a.result,
    a.refusal_reason,
    a.potential_revenue,
    t.actions,
    t.stage,
    t.first_at,
    t.contact_at,
    t.meeting_at,
    t.offer_at,
    t.order_at,
    t.last_at
FROM crm_bot_actions_:mrf AS a
JOIN crm_bot_mart_actions_lead_states_:build AS t
    ON t.lead_id = a.lead_id AND t.source_id = a.source_id AND t.transaction_id = a.transaction_id;
