-- The ledger: how far each partition has been loaded. Grain: one row per loaded batch and partition.
-- Insert-only, but for old batches that the owner folds into one. A batch starts where the one before it ended, so the primary key refuses the second of two
-- consumers that load the same range, together with its rows.
CREATE TABLE crm_bot_ledger (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    log_epoch        integer     NOT NULL,  -- 0, and one more each time `adopt-topic` starts anew
    start_offset     bigint      NOT NULL,  -- end_offset of the batch before; 0 for the first, -1 for an adoption
    end_offset       bigint      NOT NULL,  -- first offset that this batch does not cover
    topic_id         text        NOT NULL,  -- identity that Kafka gave the topic: a recreated topic has another
    rows_loaded      integer     NOT NULL,
    rows_rejected    integer     NOT NULL,
    rows_duplicate   integer     NOT NULL,
    rows_superseded  integer     NOT NULL,  -- behind a gap, and sent again since: see crm_bot_resends
    last_ids         json        NOT NULL,  -- end of each source's chain: its last transaction_id, by source_id
    gaps             json        NOT NULL,  -- accepted gaps not filled yet: [[after_id, up_to_id], …] by source_id
    loaded_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, log_epoch, start_offset)
)
:heap_by_topic;

-- Resends: from which offset on a source's messages count again. Grain: one row per order and partition.
-- Messages below up_to_offset that lie behind a gap come again, so they are not loaded.
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

-- Gaps in a source's chain that an operator has accepted. Grain: one row per gap.
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

-- Sources that are no bot's: all of their messages become dead letters. Grain: one row per decision of an
-- operator, of which the newest counts.
CREATE TABLE crm_bot_foreign_sources (
    topic            text        NOT NULL,
    source_id        uuid        NOT NULL,
    decided_at       timestamptz NOT NULL DEFAULT now(),
    is_foreign       boolean     NOT NULL,
    PRIMARY KEY (topic, source_id, decided_at)
)
:heap_by_topic;
