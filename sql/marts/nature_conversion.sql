-- What became of the orders of each day: where the applications of that day stand now.
-- Grain: one row per day of application, in the MRF's time zone; days without any are there with zeros.
-- Source: mart nature_orders. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_nature_conversion_:build (
    day           date   NOT NULL,
    applications  bigint NOT NULL,
    feasibility   bigint NOT NULL,     -- got to the feasibility check or further
    contract      bigint NOT NULL,     -- got to the contract or further
    connected     bigint NOT NULL,     -- are connected now
    in_work       bigint NOT NULL,     -- neither connected nor lost
    lost          bigint NOT NULL,
    conversion    double precision     -- connected / applications
)
:columnar;

INSERT INTO crm_bot_mart_nature_conversion_:build
WITH cohorts AS (
    SELECT
        (applied_at AT TIME ZONE :'timezone')::date AS day,
        count(*) AS applications,
        count(*) FILTER (WHERE stage >= 2) AS feasibility,
        count(*) FILTER (WHERE stage >= 3) AS contract,
        count(*) FILTER (WHERE status = 'connected') AS connected,
        count(*) FILTER (WHERE status = 'lost') AS lost
    FROM crm_bot_mart_nature_orders_:build
    GROUP BY 1
), days AS (
    SELECT generate_series(min(day)::timestamp, max(day)::timestamp, interval '1 day')::date AS day
    FROM cohorts
)
SELECT
    d.day,
    coalesce(c.applications, 0),
    coalesce(c.feasibility, 0),
    coalesce(c.contract, 0),
    coalesce(c.connected, 0),
    coalesce(c.applications - c.connected - c.lost, 0),
    coalesce(c.lost, 0),
    c.connected::double precision / c.applications
FROM days AS d
LEFT JOIN cohorts AS c ON c.day = d.day;
