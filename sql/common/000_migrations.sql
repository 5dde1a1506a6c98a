-- Applied migration files. Grain: one row per file, and per MRF for the files in mrf/.
CREATE TABLE IF NOT EXISTS crm_bot_migrations (
    name        text        NOT NULL,
    checksum    text,  -- SHA-256 of the file without comments; NULL if applied by hand
    applied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
)
:heap_by_name;
