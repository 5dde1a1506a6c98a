-- The ledger: how far each partition has been loaded. Grain: one row per loaded batch and partition.
-- Append-only, except that the owner folds old batches into one. A batch starts where the previous one ended:
-- if two consumers load the same range, the primary key refuses the second one together with its rows.
CREATE TABLE crm_bot_ledger (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,  -- 0, and one more after each `adopt-topic`
    start_offset     bigint      NOT NULL,  -- end_offset of the previous batch; 0 if first, -1 if adopted
    end_offset       bigint      NOT NULL,  -- first offset that this batch does not cover
    topic_id         text        NOT NULL,  -- the topic's id in Kafka: a recreated topic has another
    rows_loaded      integer     NOT NULL,
    rows_rejected    integer     NOT NULL,
    rows_duplicate   integer     NOT NULL,
    rows_superseded  integer     NOT NULL,  -- behind a gap, sent again by a resend: see crm_bot_resends
    last_ids         json        NOT NULL,  -- by source_id, the last transaction_id of its chain
    gaps             json        NOT NULL,  -- by source_id, accepted gaps left: [[after_id, up_to_id], …]
    loaded_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, start_offset)
)
:heap_by_topic;

-- Resend orders: messages behind a gap and below up_to_offset are not loaded, because they will be sent
-- again. Grain: one row per order, partition and source.
CREATE TABLE crm_bot_resends (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,
    source_id        uuid        NOT NULL,
    up_to_offset     bigint      NOT NULL,
    ordered_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, source_id, up_to_offset)
)
:heap_by_topic;

-- Gaps in the sources' chains, accepted by an operator. Grain: one row per gap.
CREATE TABLE crm_bot_losses (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    source_id        uuid        NOT NULL,
    after_id         bigint      NOT NULL,  -- the last row before the gap, 0 for none
    up_to_id         bigint      NOT NULL,  -- the last row of the gap
    accepted_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, source_id, after_id, up_to_id)
)
:heap_by_topic;

-- Foreign sources: they belong to no bot, and all of their messages become dead letters. Grain: one row per
-- decision of an operator; the newest one applies.
CREATE TABLE crm_bot_foreign_sources (
    topic            text        NOT NULL,
    source_id        uuid        NOT NULL,
    decided_at       timestamptz NOT NULL DEFAULT now(),
    is_foreign       boolean     NOT NULL,
    PRIMARY KEY (topic, source_id, decided_at)
)
:heap_by_topic;
