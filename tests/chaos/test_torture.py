"""The short form of the torture bench; `make torture` is the long one."""

from pathlib import Path

import pytest

from tests.chaos import on_call
from tests.chaos.faults.logs import make_a_topic_again
from tests.chaos.faults.processes import kill_a_consumer_in_mid_load
from tests.chaos.faults.rows import put_odd_rows_in_a_bots_file
from tests.chaos.faults.topics import send_foreign_messages
from tests.chaos.mutants import MUTANTS, Mutant, mutated
from tests.chaos.torture import torture

# A crash, strangers, the bot's own odd rows, and a loss that an operator has to mend.
_SHORT = (
    kill_a_consumer_in_mid_load,
    send_foreign_messages,
    put_odd_rows_in_a_bots_file,
    make_a_topic_again,
)
# Those that come to light without a fault, or with one that takes no time.
_QUICK = [mutant for mutant in MUTANTS if all(f.__name__ == "send_foreign_messages" for f in mutant.faults)]
_SOURCES = list(Path(__file__).parents[2].glob("*/*/src/**/*.py"))


@pytest.mark.timeout(900)
def test_the_promises_hold_under_four_faults(tmp_path: Path) -> None:
    assert torture(tmp_path / "run", seed=1, faults=_SHORT, mrfs=["mrf1"]) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", _QUICK[:1], ids=lambda mutant: mutant.name)
def test_the_checker_finds_a_mistake(tmp_path: Path, mutant: Mutant) -> None:
    found = torture(tmp_path / "run", seed=1, mrfs=["mrf1"], mutant=mutant)
    assert any(mutant.sign in violation for violation in found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_can_be_made_in_the_code_as_it_is(tmp_path: Path, mutant: Mutant) -> None:
    mutated(tmp_path, mutant)


@pytest.mark.parametrize("sign", on_call.SIGNS)
def test_the_operator_knows_the_services_words(sign: str) -> None:
    assert any(sign in source.read_text(encoding="utf-8") for source in _SOURCES)
