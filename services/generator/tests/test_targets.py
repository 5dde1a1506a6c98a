"""The targets of docs/world.md, measured on a generated quarter of a typical branch."""

import re
from pathlib import Path

import pytest

from services.generator.tests.bot import done
from services.generator.tests.measures import Measures
from services.generator.tests.targets import FIGURES

_PAGE = Path(__file__).parents[3] / "docs" / "world.md"
TARGETS = {
    name: (float(least), float(most))
    for name, least, most in re.findall(
        r"^\| (.+?) \| ([\d.]+)–([\d.]+) \| ", _PAGE.read_text(), re.MULTILINE
    )
}


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Measures:
    folder = tmp_path_factory.mktemp("quarter")
    done(folder, "backfill", "--days", 91, "--until", "2026-07-01", "--seed", 11, mrf="mrf1")
    return Measures(folder, "Europe/Moscow")


def test_the_page_and_the_measures_name_the_same_figures() -> None:
    assert TARGETS.keys() == FIGURES.keys()


@pytest.mark.parametrize("name", FIGURES)
def test_a_quarter_meets_its_targets(quarter: Measures, name: str) -> None:
    least, most = TARGETS[name]
    assert least <= FIGURES[name](quarter) <= most
