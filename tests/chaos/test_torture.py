"""The short form of the torture bench; `make torture` is the long one."""

from pathlib import Path

import pytest

from tests.chaos import on_call
from tests.chaos.faults.logs import recreate_a_topic
from tests.chaos.faults.processes import kill_a_consumer_in_mid_load
from tests.chaos.faults.rows import insert_invalid_rows_into_a_bots_file
from tests.chaos.faults.topics import send_foreign_messages
from tests.chaos.mutants import MUTANTS, Mutant, mutated
from tests.chaos.torture import torture

# A crash, foreign messages, invalid rows of the bot, and a loss that needs an operator.
_SHORT = (
    kill_a_consumer_in_mid_load,
    send_foreign_messages,
    insert_invalid_rows_into_a_bots_file,
    recreate_a_topic,
)
# Mutants that are exposed without a fault, or by a quick one.
_QUICK = [mutant for mutant in MUTANTS if all(f.__name__ == "send_foreign_messages" for f in mutant.faults)]
_SOURCES = list(Path(__file__).parents[2].glob("*/*/src/**/*.py"))


@pytest.mark.timeout(900)
def test_the_guarantees_hold_under_four_faults(tmp_path: Path) -> None:
    assert torture(tmp_path / "run", seed=1, faults=_SHORT, mrfs=["mrf1"]) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", _QUICK[:1], ids=lambda mutant: mutant.name)
def test_the_checker_detects_a_mutant(tmp_path: Path, mutant: Mutant) -> None:
    found = torture(tmp_path / "run", seed=1, mrfs=["mrf1"], mutant=mutant)
    assert any(mutant.finding in violation for violation in found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_to_the_current_code(tmp_path: Path, mutant: Mutant) -> None:
    mutated(tmp_path, mutant)


@pytest.mark.parametrize("reason", on_call.STOP_REASONS)
def test_the_services_log_the_texts_that_the_operator_expects(reason: str) -> None:
    assert any(reason in source.read_text(encoding="utf-8") for source in _SOURCES)
