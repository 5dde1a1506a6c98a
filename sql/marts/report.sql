-- Days of the report: the month up to its last day, the days compared with it, the trend weeks.
-- Other marts read it with LIMIT 1, which tells the planner that it has one row.
-- Grain: one row. Source: crm_bot_actions_<mrf>, crm_bot_nature_<mrf>. Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_report_:build (
    run             text    NOT NULL,  -- run of the DAG that built these marts, empty by hand
    day             date,              -- last day, in the MRF's time zone; unless given, the day of the newest row
    month_start     date,
    month_end       date,
    previous_start  date,              -- previous month, up to the same day; a whole month is compared with a whole one
    previous_end    date,
    trend_start     date,              -- a Monday: the week of `day` and the twelve before it
    days            integer,           -- days of the month up to and including `day`
    month_days      integer,
    until_at        timestamptz        -- end of `day`, exclusive: later rows are ignored
)
:columnar;

INSERT INTO crm_bot_mart_report_:build
WITH newest AS (
    SELECT max(occurred_at) AS occurred_at
    FROM (
        SELECT max(occurred_at) AS occurred_at FROM crm_bot_actions_:mrf
        UNION ALL
        SELECT max(occurred_at) AS occurred_at FROM crm_bot_nature_:mrf
    ) AS streams
), chosen AS (
    SELECT coalesce(nullif(:'day', '')::date, (occurred_at AT TIME ZONE :'timezone')::date) AS day
    FROM newest
), months AS (
    SELECT
        day,
        date_trunc('month', day::timestamp)::date AS month_start,
        (date_trunc('month', day::timestamp) + interval '1 month')::date - 1 AS month_end
    FROM chosen
)
SELECT
    :'run',
    day,
    month_start,
    month_end,
    (month_start::timestamp - interval '1 month')::date,
    CASE WHEN day = month_end THEN month_start - 1 ELSE (day::timestamp - interval '1 month')::date END,
    date_trunc('week', day::timestamp)::date - 12 * 7,
    day - month_start + 1,
    month_end - month_start + 1,
    (day + 1)::timestamp AT TIME ZONE :'timezone'
FROM months;
