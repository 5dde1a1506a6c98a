-- Messages that break the contract, byte for byte. Grain: one row per message.
CREATE TABLE crm_bot_rejects (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    kafka_offset     bigint      NOT NULL,
    reason           text        NOT NULL,
    message_key      bytea,
    message_value    bytea,
    rejected_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, kafka_offset)
)
:heap_by_topic;

-- Rejects that were put right and loaded. Grain: one row per reject; the key refuses a second replay.
CREATE TABLE crm_bot_replays (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    kafka_offset     bigint      NOT NULL,
    replayed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, kafka_offset)
)
:heap_by_topic;
