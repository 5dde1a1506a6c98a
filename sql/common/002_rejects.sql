-- Dead letters: rejected messages, byte for byte. Grain: one row per message.
CREATE TABLE crm_bot_rejects (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,
    kafka_offset     bigint      NOT NULL,
    reason           text        NOT NULL,
    source_id        uuid,                  -- this and the next two as the message claims, or NULL
    transaction_id   bigint,
    previous_id      bigint,
    is_link          boolean     NOT NULL,  -- a link of its source's chain, which continues after it
    message_key      bytea,
    message_value    bytea,
    rejected_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, kafka_offset)
)
:heap_by_topic;

-- Replayed rejects, which are now loaded. Grain: one row per reject; the keys refuse a second replay of a
-- reject or of an event.
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
