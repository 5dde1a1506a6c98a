-- When managers use the bot: actions by hour and weekday in the trend weeks, in the MRF's time zone; hours
-- without actions have zeros.
-- Grain: one row per hour of the day, a column per weekday. Source: marts actions_activity, report.
-- Refresh: rebuilt by every export.
CREATE TABLE crm_bot_mart_actions_hours_:build (
    hour       integer NOT NULL,
    monday     bigint  NOT NULL,
    tuesday    bigint  NOT NULL,
    wednesday  bigint  NOT NULL,
    thursday   bigint  NOT NULL,
    friday     bigint  NOT NULL,
    saturday   bigint  NOT NULL,
    sunday     bigint  NOT NULL,
    total      bigint  NOT NULL
)
:columnar;

INSERT INTO crm_bot_mart_actions_hours_:build
WITH activity AS (
    SELECT a.hour, extract(isodow FROM a.day)::integer AS weekday, sum(a.actions) AS actions
    FROM crm_bot_mart_actions_activity_:build AS a
    JOIN (SELECT * FROM crm_bot_mart_report_:build LIMIT 1) AS r ON a.day >= r.trend_start
    GROUP BY 1, 2
)
SELECT
    h.hour,
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 1), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 2), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 3), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 4), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 5), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 6), 0),
    coalesce(sum(a.actions) FILTER (WHERE a.weekday = 7), 0),
    coalesce(sum(a.actions), 0)
FROM generate_series(0, 23) AS h (hour)
LEFT JOIN activity AS a ON a.hour = h.hour
GROUP BY h.hour;
