-- How far the topics were loaded when the marts were built, from the ledger.
-- Grain: one row per topic and partition. Source: crm_bot_ledger. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_offsets_:build (
    topic            text        NOT NULL,
    kafka_partition  integer     NOT NULL,
    end_offset       bigint      NOT NULL,  -- first offset not loaded
    loaded_at        timestamptz NOT NULL
)
:columnar;

INSERT INTO crm_bot_mart_offsets_:build
SELECT DISTINCT ON (topic, kafka_partition) topic, kafka_partition, end_offset, loaded_at
FROM crm_bot_ledger
WHERE topic IN ('crm_bot_actions_' || :'mrf', 'crm_bot_nature_' || :'mrf')
ORDER BY topic, kafka_partition, log_epoch DESC, start_offset DESC;
