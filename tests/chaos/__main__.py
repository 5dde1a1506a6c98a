"""`python -m tests.chaos`: the torture bench. Exits with 4 on a violation, or if a mutant is not detected."""

import itertools
import sys
from pathlib import Path

import click

from tests.chaos.faults import FAULTS
from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.torture import torture

_FAULTS = {fault.__name__: fault for fault in FAULTS}
_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@click.command()
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Determines the faults of the first run; each further run adds 1.",
)
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Number of runs.")
@click.option(
    "--faults",
    type=click.IntRange(min=0),
    default=len(FAULTS),
    show_default=True,
    help="Faults per run; by default each once.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(_FAULTS)),
    help="Only these faults, in this order; repeatable.",
)
@click.option("--mrfs", default="mrf1,mrf2", show_default=True, help="MRFs whose bots run.")
@click.option(
    "--mutant",
    "mutants",
    multiple=True,
    type=click.Choice(list(_BY_NAME)),
    help="Run with this bug, which the checker must detect.",
)
@click.option("--all-mutants", is_flag=True, help="Run with every bug in turn.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/chaos"), show_default=True)
def main(
    seed: int,
    runs: int,
    faults: int,
    only: tuple[str, ...],
    mrfs: str,
    mutants: tuple[str, ...],
    all_mutants: bool,
    folder: Path,
) -> None:
    """Inject faults into running bots, producers and consumers, then check the data."""
    has_failed = False
    chosen: list[Mutant | None] = [*MUTANTS] if all_mutants else [_BY_NAME[name] for name in mutants]
    for number, mutant in itertools.product(range(seed, seed + runs), chosen or [None]):
        found = torture(
            folder,
            seed=number,
            faults=[_FAULTS[name] for name in only] or faults,
            mrfs=mrfs.split(","),
            mutant=mutant,
            verbose=True,
        )
        verdict = f"{len(found)} violations" if found else "clean"
        is_failure = bool(found)
        if mutant:
            is_failure = not any(mutant.finding in violation for violation in found)
            verdict += f", '{mutant.name}' was {'not ' if is_failure else ''}detected"
        click.echo(f"seed {number}: {verdict}; {folder}/history.jsonl")
        has_failed = has_failed or is_failure
    sys.exit(4 if has_failed else 0)


if __name__ == "__main__":
    main()
