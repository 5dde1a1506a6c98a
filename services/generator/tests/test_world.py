"""A world that a sales head would take for her own: a typical branch's quarter."""

import math
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from crmbot_generator.calendar.days import is_working
from services.generator.tests.bot import done
from services.generator.tests.measures import NO_LINE, Measures

WITHOUT_LINE = ("Мобильная связь", "Умный дом", "ВАТС", "Виртуальный ЦОД", "Облачные сервисы")


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Measures:
    """April to June 2026, with the holidays of May."""
    folder = tmp_path_factory.mktemp("quarter")
    done(folder, "backfill", "--days", 91, "--until", "2026-07-01", "--seed", 7, mrf="mrf1")
    return Measures(folder, "Europe/Moscow")


def test_a_client_is_one_client_for_ever(quarter: Measures) -> None:
    both = pd.concat([quarter.actions, quarter.nature])
    for column in ("segment", "client_name", "city", "branch"):
        assert both.dropna(subset=[column]).groupby("client_id")[column].nunique().max() == 1, column
    assert quarter.actions.groupby("client_id")["lead_id"].nunique().max() > 1


def test_a_lead_has_one_manager_product_and_price(quarter: Measures) -> None:
    for column in ("client_id", "manager_id", "product", "potential_revenue"):
        assert quarter.actions.groupby("lead_id")[column].nunique().max() == 1, column


def test_nobody_orders_home_internet_twice(quarter: Measures) -> None:
    home = quarter.connected[
        (quarter.connected.segment == "individual")
        & quarter.connected.service.isin(("ШПД", "ИКТВ", "Конвергентный пакет", "Умный дом"))
    ]
    again = home.groupby(["client_id", "service"]).size()
    assert (again > 1).mean() < 0.002  # who has left may come back
    assert (home.units[home.service == "ШПД"] == 1).all()


def test_no_row_is_recorded_before_it_happens(quarter: Measures) -> None:
    for rows in (quarter.actions, quarter.nature):
        assert (rows.recorded >= rows["at"]).all()
        assert rows.recorded.is_monotonic_increasing


def test_no_moment_has_more_rows_than_a_moment_has(quarter: Measures) -> None:
    """No time is squeezed into a minute, at the end of the file neither."""
    for rows in (quarter.actions, quarter.nature):
        assert rows.groupby("occurred_at").size().max() <= 3
        assert rows.groupby(rows["at"].dt.floor("min")).size().max() < 0.01 * len(rows)


def test_days_vary_by_chance(quarter: Measures) -> None:
    leads = quarter.daily_leads["individual"]
    of_wednesdays = leads[quarter.days.day_of_week == 2]
    assert of_wednesdays.std() > math.sqrt(of_wednesdays.mean())


def test_business_rests_on_holidays_and_private_clients_less(quarter: Measures) -> None:
    days = quarter.daily_leads
    is_workday = [is_working(day.toordinal()) for day in quarter.days]
    business = days[["small_business", "enterprise", "government"]].sum(axis=1)
    rest = business[[not workday for workday in is_workday]]
    assert rest.sum() == 0
    may = days["individual"][[day.date() in (date(2026, 5, 1), date(2026, 5, 11)) for day in quarter.days]]
    assert 0 < may.mean() < 0.75 * days["individual"][is_workday].mean()


def test_managers_have_days_off_and_leave(quarter: Measures) -> None:
    actions = quarter.actions[quarter.actions.action != "lead_created"]
    for _, of_manager in actions.groupby("manager_id"):
        days = set(of_manager["at"].dt.date)
        if len(days) > 45:
            assert len(days) < 70  # of 91
    at_work = actions.groupby([actions["at"].dt.date])["manager_id"].nunique()
    assert at_work[[not is_working(day.toordinal()) for day in at_work.index]].max() < 0.45 * at_work.max()


def test_work_is_done_in_working_hours(quarter: Measures) -> None:
    done_by_managers = quarter.actions[quarter.actions.action != "lead_created"]
    assert done_by_managers["at"].dt.hour.between(9, 20).mean() > 0.999


def test_a_meeting_helps(quarter: Measures) -> None:
    for segment in ("small_business", "individual"):
        leads = quarter.mature(segment, 45)
        contacted = leads[leads.contacted.notna()]
        won = contacted.ordered.notna()
        assert won[contacted.met.notna()].mean() > 1.2 * won[contacted.met.isna()].mean(), segment


def test_a_meeting_is_never_unanswered(quarter: Measures) -> None:
    met = quarter.actions[quarter.actions.action.isin(("meeting", "presentation"))]
    assert "no_answer" not in set(met.result)


def test_reasons_are_possible(quarter: Measures) -> None:
    actions, nature = quarter.actions, quarter.nature
    private = set(actions[actions.segment == "individual"].refusal_reason.dropna())
    assert "Нет бюджета" not in private
    assert not set(actions[actions.refusal_reason == NO_LINE]["product"]) & set(WITHOUT_LINE)
    assert not set(nature[nature.lost_reason == NO_LINE].service) & set(WITHOUT_LINE)
    contracts = set(nature[nature.status == "contract"].order_id)
    assert not contracts & set(nature[nature.lost_reason == NO_LINE].order_id)


def test_a_tender_takes_weeks(quarter: Measures) -> None:
    orders = quarter.leads[quarter.leads.segment == "government"]
    assert quarter.hours(orders, "feasibility", "contract", 0.5) / 24 > 14


def test_names_are_names(quarter: Measures) -> None:
    clients = quarter.actions.drop_duplicates("client_id").set_index("segment")["client_name"]
    for name in clients["individual"]:
        surname, given, patronymic = name.split()
        is_woman = patronymic.endswith("на")
        assert surname.endswith(("а", "ая")) == is_woman, name
        assert is_woman or patronymic.endswith("ич"), name
        assert given
    for segment in ("small_business", "enterprise", "government"):
        for name in clients[segment]:
            digits = name.rsplit(", ИНН ", 1)[1]
            assert digits.startswith("00"), name
            assert has_right_checksum(digits), name
    assert not clients["enterprise"].str.startswith("ИП").any()


def has_right_checksum(inn: str) -> bool:
    """Check an ИНН by the rule of the tax service."""

    def check(digits: str, weights: tuple[int, ...]) -> int:
        return sum(int(d) * w for d, w in zip(digits, weights, strict=False)) % 11 % 10

    if len(inn) == 10:
        return check(inn, (2, 4, 10, 3, 5, 9, 4, 6, 8)) == int(inn[9])
    first = check(inn, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == int(inn[10])
    return first and check(inn, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) == int(inn[11])


def test_branches_have_their_own_hours(tmp_path: Path) -> None:
    done(tmp_path, "backfill", "--days", 20, "--until", "2026-07-01", "--seed", 7, mrf="mrf7")
    for city, zone in (("Владивосток", "Asia/Vladivostok"), ("Петропавловск-Камчатский", "Asia/Kamchatka")):
        bot = Measures(tmp_path, zone)
        of_city = bot.actions[(bot.actions.city == city) & (bot.actions.action != "lead_created")]
        assert len(of_city) > 100
        assert of_city["at"].dt.hour.between(9, 20).mean() > 0.995, city
