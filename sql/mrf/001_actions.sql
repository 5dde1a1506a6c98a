-- Managers' activity of one MRF (lead generation). Grain: one row per transaction of the bot.
CREATE TABLE crm_bot_actions_:mrf (
    kafka_partition    integer        NOT NULL,
    previous_id        bigint         NOT NULL,  -- the source's previous transaction_id in the partition
    schema_version     integer        NOT NULL,
    transaction_id     bigint         NOT NULL,
    event_id           uuid           NOT NULL,
    source_id          uuid           NOT NULL,
    mrf                text           NOT NULL,
    occurred_at        timestamptz    NOT NULL,
    recorded_at        timestamptz    NOT NULL,
    lead_id            text           NOT NULL,
    client_id          text           NOT NULL,
    segment            text           NOT NULL,
    manager_id         text           NOT NULL,
    manager_name       text           NOT NULL,
    branch             text           NOT NULL,
    city               text           NOT NULL,
    client_name        text           NOT NULL,
    action             text           NOT NULL,
    channel            text           NOT NULL,
    product            text           NOT NULL,
    result             text           NOT NULL,
    refusal_reason     text,
    potential_revenue  numeric(14, 2) NOT NULL,
    kafka_offset       bigint         NOT NULL,
    loaded_at          timestamptz    NOT NULL DEFAULT now()
)
:columnar;
