"""The dashboards: one module each, declarations only."""

from crmbot_exporter.dashboards.actions import ACTIONS_DASHBOARD
from crmbot_exporter.dashboards.nature import NATURE_DASHBOARD

DASHBOARDS = {dashboard.name: dashboard for dashboard in (ACTIONS_DASHBOARD, NATURE_DASHBOARD)}

__all__ = ["DASHBOARDS"]
