-- The ledger: how far each partition has been loaded. Grain: one row per loaded batch and partition.
-- Insert-only. A batch starts where the previous one ended, so the primary key refuses the second of two
-- consumers that load the same range, together with its rows.
CREATE TABLE crm_bot_ledger (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    start_offset     bigint      NOT NULL,  -- end_offset of the previous batch, 0 for the first
    end_offset       bigint      NOT NULL,  -- first offset that this batch does not cover
    topic_id         text        NOT NULL,  -- identity that Kafka gave the topic: a topic made anew has another
    rows_loaded      integer     NOT NULL,
    rows_rejected    integer     NOT NULL,
    rows_duplicate   integer     NOT NULL,
    last_ids         json        NOT NULL,  -- highest transaction_id so far, by source_id
    loaded_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kafka_partition, start_offset)
)
:heap_by_topic;
