-- Service connections of one MRF (conversion). Grain: one row per step of an order.
CREATE TABLE crm_bot_nature_:mrf (
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
    order_id           text           NOT NULL,
    service            text           NOT NULL,
    tariff             text           NOT NULL,
    units              integer        NOT NULL,
    status             text           NOT NULL,
    lost_reason        text,
    one_off_revenue    numeric(14, 2) NOT NULL,
    monthly_revenue    numeric(14, 2) NOT NULL,
    kafka_offset       bigint         NOT NULL,
    loaded_at          timestamptz    NOT NULL DEFAULT now()
)
:columnar;
