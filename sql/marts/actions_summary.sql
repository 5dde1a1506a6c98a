-- Key figures of managers' activity in one MRF.
-- Grain: one row. Source: crm_bot_actions_<mrf>, mart actions_leads. Refresh: made anew by every export.
CREATE TABLE crm_bot_mart_actions_summary_:build (
    rows_total        bigint NOT NULL,
    first_day         date,
    last_day          date,
    loaded_at         timestamptz,             -- when the newest row reached the warehouse
    managers          bigint NOT NULL,
    leads             bigint NOT NULL,
    orders            bigint NOT NULL,         -- leads that placed an order
    refusals          bigint NOT NULL,         -- leads whose present state is a refusal
    conversion        double precision,        -- orders / leads
    actions_per_lead  double precision,
    potential         numeric(16, 2) NOT NULL, -- of all leads, roubles per month
    orders_potential  numeric(16, 2) NOT NULL  -- of the leads that placed an order
)
:columnar;

INSERT INTO crm_bot_mart_actions_summary_:build
SELECT
    a.rows_total,
    a.first_day,
    a.last_day,
    a.loaded_at,
    a.managers,
    l.leads,
    l.orders,
    l.refusals,
    l.orders::double precision / nullif(l.leads, 0),
    a.rows_total::double precision / nullif(l.leads, 0),
    l.potential,
    l.orders_potential
FROM (
    SELECT
        count(*) AS rows_total,
        (min(occurred_at) AT TIME ZONE :'timezone')::date AS first_day,
        (max(occurred_at) AT TIME ZONE :'timezone')::date AS last_day,
        max(loaded_at) AS loaded_at,
        count(DISTINCT manager_id) AS managers
    FROM crm_bot_actions_:mrf
) AS a
CROSS JOIN (
    SELECT
        count(*) AS leads,
        count(*) FILTER (WHERE stage = 5) AS orders,
        count(*) FILTER (WHERE last_result = 'refused') AS refusals,
        coalesce(sum(potential_revenue), 0) AS potential,
        coalesce(sum(potential_revenue) FILTER (WHERE stage = 5), 0) AS orders_potential
    FROM crm_bot_mart_actions_leads_:build
) AS l;
