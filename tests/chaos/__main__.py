"""`python -m tests.chaos`: torture the road; exit 4 if a promise was broken, or a mistake not found."""

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
    "--seed", type=int, default=1, show_default=True, help="Repeats a run's faults; runs count up from it."
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="One seed after another."
)
@click.option(
    "--faults",
    type=click.IntRange(min=0),
    default=len(FAULTS),
    show_default=True,
    help="Faults in a run; by default each once.",
)
@click.option(
    "--only", multiple=True, type=click.Choice(list(_FAULTS)), help="These faults, in this order; repeatable."
)
@click.option("--mrfs", default="mrf1,mrf2", show_default=True, help="Bots at work.")
@click.option(
    "--mutant", "mutants", multiple=True, type=click.Choice(list(_BY_NAME)), help="A mistake to be found."
)
@click.option("--all-mutants", is_flag=True, help="Every mistake, one after another.")
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
    """Run bots, producers and consumers while broker, warehouse, network and processes fail, then check."""
    is_broken = False
    mistakes: list[Mutant | None] = [*MUTANTS] if all_mutants else [_BY_NAME[name] for name in mutants]
    for number, mutant in itertools.product(range(seed, seed + runs), mistakes or [None]):
        found = torture(
            folder,
            seed=number,
            faults=[_FAULTS[name] for name in only] or faults,
            mrfs=mrfs.split(","),
            mutant=mutant,
            is_shown=True,
        )
        verdict = f"{len(found)} violations" if found else "clean"
        is_bad = bool(found)
        if mutant:
            is_bad = not any(mutant.sign in violation for violation in found)
            verdict += f", '{mutant.name}' was {'not ' if is_bad else ''}found"
        click.echo(f"seed {number}: {verdict}; {folder}/history.jsonl")
        is_broken = is_broken or is_bad
    sys.exit(4 if is_broken else 0)


if __name__ == "__main__":
    main()
