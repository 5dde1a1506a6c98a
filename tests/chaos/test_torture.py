"""The short form of the torture bench; `make torture` is the long one."""

from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.torture import torture

# Those that come to light without a fault, or with one that takes no time.
_QUICK = [mutant for mutant in MUTANTS if all(f.__name__ == "send_foreign_messages" for f in mutant.faults)]


@pytest.mark.timeout(900)
def test_the_promises_hold_under_six_faults(tmp_path: Path) -> None:
    assert torture(tmp_path / "run", seed=1, faults=6) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", _QUICK[:2], ids=lambda mutant: mutant.name)
def test_the_checker_finds_a_mistake(tmp_path: Path, mutant: Mutant) -> None:
    found = torture(tmp_path / "run", seed=1, mrfs=["mrf1"], mutant=mutant)
    assert any(mutant.sign in violation for violation in found)
