-- Sales plan of one MRF, loaded by `crmbot-exporter plan`. Insert-only: of a month, the newest load counts.
-- Grain: one row per month, branch, service, tariff and load.
CREATE TABLE crm_bot_plan_:mrf (
    month            date           NOT NULL,  -- its first day
    branch           text           NOT NULL,
    service          text           NOT NULL,
    tariff           text           NOT NULL,
    units            integer        NOT NULL,  -- to be connected
    monthly_revenue  numeric(14, 2) NOT NULL,  -- of these, roubles per month
    loaded_at        timestamptz    NOT NULL DEFAULT now()
)
:columnar;
