"""kill -9 at random times causes no loss and no duplicates."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until

KILLS = 10


@contextmanager
def running_bot(pipeline: Pipeline) -> Iterator[None]:
    """Run the bot within the block."""
    bot = pipeline.start("crmbot-generator", "load", "--rate", "300")
    try:
        yield
    finally:
        assert bot.terminate() == 0


@pytest.mark.parametrize("seed", [20261123])
def test_ten_kills_during_a_load_leave_every_row_once_and_in_order(pipeline: Pipeline, seed: int) -> None:
    rng = random.Random(seed)
    pipeline.backfill(40_000)
    # Small pages and batches make many transactions, so that kills hit every phase of one.
    small = {"PAGE_ROWS": "500", "BATCH_ROWS": "1000", "BATCH_SECONDS": "0.05"}
    starts = [partial(pipeline.produce, stream, **small) for stream in ("actions", "nature")]
    starts += [partial(pipeline.consume, stream, **small) for stream in ("actions", "actions", "nature")]
    running: list[Service] = [start() for start in starts]
    pause = threading.Event()
    with running_bot(pipeline):
        wait_until(lambda: pipeline.in_warehouse("actions") > 0, "the first rows are loaded")
        for kill in range(KILLS):
            pause.wait(rng.uniform(0.2, 2.0))
            # Producers and consumers alternate, so that both are killed.
            victim = rng.choice([0, 1] if kill % 2 else [2, 3, 4])
            running[victim].kill()
            running[victim] = starts[victim]()
    for service in running:
        assert service.process.poll() is None, service.log.read_text()[-2000:]
    result = pipeline.audit(wait=90)
    assert result["clean"], (seed, result)
    assert [stream["rejected"] for stream in result["streams"]] == [0, 0]
    rows = sum(stream["rows_in_file"] for stream in result["streams"])
    assert rows > 40_000
