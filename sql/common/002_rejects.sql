-- Messages that are not loaded, byte for byte. Grain: one row per message.
CREATE TABLE crm_bot_rejects (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,
    kafka_offset     bigint      NOT NULL,
    reason           text        NOT NULL,
    source_id        uuid,                  -- what the message says of itself, NULL where that cannot be read
    transaction_id   bigint,
    previous_id      bigint,
    is_link          boolean     NOT NULL,  -- whether it is a link of its source's chain, which goes on behind it
    message_key      bytea,
    message_value    bytea,
    rejected_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, kafka_offset)
)
:heap_by_topic;

-- Rejects that were put right and loaded. Grain: one row per reject; the keys refuse a second replay of a
-- reject, and of an event.
CREATE TABLE crm_bot_replays (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,
    kafka_offset     bigint      NOT NULL,
    event_id         uuid        NOT NULL,
    replayed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, kafka_offset),
    UNIQUE (topic, event_id)
)
:heap_by_topic;
