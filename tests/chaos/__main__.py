"""`python -m tests.chaos`: torture the road; exit 4 if a promise was broken, or a mistake not found."""

import sys
from pathlib import Path

import click

from tests.chaos.faults import FAULTS
from tests.chaos.mutants import MUTANTS
from tests.chaos.torture import torture

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
@click.option("--mrfs", default="mrf1,mrf2", show_default=True, help="Bots at work.")
@click.option("--mutant", type=click.Choice(list(_BY_NAME)), help="A mistake to be found.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/chaos"), show_default=True)
def main(seed: int, runs: int, faults: int, mrfs: str, mutant: str | None, folder: Path) -> None:
    """Run bots, producers and consumers while broker, warehouse, network and processes fail, then check."""
    is_broken = False
    for number in range(seed, seed + runs):
        found = torture(
            folder,
            seed=number,
            faults=faults,
            mrfs=mrfs.split(","),
            mutant=_BY_NAME[mutant] if mutant else None,
            is_shown=True,
        )
        verdict = f"{len(found)} violations" if found else "clean"
        is_bad = bool(found)
        if mutant:
            is_bad = not any(_BY_NAME[mutant].sign in violation for violation in found)
            verdict += f", '{mutant}' was {'not ' if is_bad else ''}found"
        click.echo(f"seed {number}: {verdict}; {folder}/history.jsonl")
        is_broken = is_broken or is_bad
    sys.exit(4 if is_broken else 0)


if __name__ == "__main__":
    main()
