-- Sales plan of one MRF, loaded by `crmbot-exporter plan`. Append-only: the newest load of a month applies.
-- Grain: one row per month, branch, service, tariff and load.
CREATE TABLE crm_bot_plan_:mrf (
    month            date           NOT NULL,  -- first day of the month
    branch           text           NOT NULL,
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    units            integer        NOT NULL,  -- connections planned
    monthly_revenue  numeric(14, 2) NOT NULL,  -- from these connections, roubles per month
    loaded_at        timestamptz    NOT NULL DEFAULT now()
)
:columnar;
