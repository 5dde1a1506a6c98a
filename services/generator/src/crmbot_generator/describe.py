"""A world in words and figures."""

from collections import Counter
from datetime import date

from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS, Catalogue
from crmbot_generator.world.expectation import Expectation
from crmbot_generator.world.managers import Managers
from crmbot_generator.world.names import Names
from crmbot_generator.world.regions import branches_of


def description(mrf: str, parameters: Parameters, seed: int, today: date) -> str:
    """Return a page of text: branches, leads and what becomes of them, prices."""
    size = parameters.size
    managers = Managers(mrf, parameters, branches_of(mrf), Names(seed), seed, today.toordinal())
    managers.start_day(today.toordinal())
    expectation = Expectation(mrf, parameters, seed)
    leads = size.rows_per_day / expectation.rows_per_lead
    lines = [
        f"{mrf}: {size.rows_per_day:g} rows and {leads:.0f} leads on an average day, "
        f"{size.managers} managers, {size.clients} clients with a service",
        "",
        f"{'branch':28}{'city':26}{'time zone':22}{'managers':>8}",
    ]
    staff = Counter(manager.branch for manager in managers.staff)
    lines += [
        f"{branch.name:28}{branch.city:26}{branch.zone:22}{staff[branch]:8}" for branch in managers.branches
    ]
    lines += [
        "",
        f"{'segment':18}{'leads':>7}{'known':>7}{'orders':>8}{'rows a lead':>13}{'within 7 days':>15}",
    ]
    for segment in SEGMENTS:
        shares = parameters.segments[segment]
        rows = expectation.rows_within(segment, 10_000)
        lines.append(
            f"{segment:18}{shares.leads:7.1%}{shares.known:7.0%}{expectation.orders(segment):8.0%}{rows:13.1f}"
            f"{expectation.rows_within(segment, 7) / rows:15.0%}"
        )
    catalogue = Catalogue()
    lines += ["", f"{'service':22}{'segment':18}{'tariff':28}{'roubles a month':>16}{'once':>9}"]
    for service in catalogue.services:
        for segment, tariffs in service.tariffs.items():
            lines += [
                f"{service.name:22}{segment:18}{tariff.name:28}{catalogue.price(tariff.monthly, today):16,}"
                f"{catalogue.price(tariff.one_off, today):9,}"
                for tariff in tariffs.items
            ]
    return "\n".join([*lines, "", "What a quarter of it must show, and why: docs/world.md"])
