-- Which of these files have been applied. Grain: one row per file, and per MRF for the files of an MRF.
CREATE TABLE IF NOT EXISTS crm_bot_migrations (
    name        text        NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
)
:heap_by_name;
