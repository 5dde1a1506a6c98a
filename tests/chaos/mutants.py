"""Services with one mistake each. The checker has to find every one, or its silence would mean nothing."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.nemesis import (
    Fault,
    freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away,
    kill_consumers_on_a_slow_network,
    kill_producers,
    kill_producers_on_a_slow_network,
    send_foreign_messages,
)

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A mistake: in `file`, `right` becomes `wrong`. `faults` are those that bring it to light."""

    name: str
    file: str
    right: str
    wrong: str
    faults: Sequence[Fault] = ()


_CONSUMER = "services/consumer/src/crmbot_consumer"
_PRODUCER = "services/producer/src/crmbot_producer"

MUTANTS = (
    Mutant(
        "no fence",
        "sql/common/001_ledger.sql",
        "PRIMARY KEY (topic, kafka_partition, start_offset)",
        "CHECK (end_offset >= start_offset)",
        faults=(freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away,) * 2,
    ),
    Mutant(
        "rows and ledger in transactions of their own",
        f"{_CONSUMER}/warehouse.py",
        "with translated_errors(), connection.transaction(), connection.cursor() as cursor:",
        "with translated_errors(), connection.cursor() as cursor:",
        faults=(kill_consumers_on_a_slow_network,) * 2,
    ),
    Mutant(
        "no duplicate guard",
        f"{_CONSUMER}/batch.py",
        "falling.append(index)",
        "pass",
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "suspects are dropped without a look",
        f"{_CONSUMER}/batch.py",
        "if suspect.row[self._event] not in seen]",
        "if False]",
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "rejects are dropped",
        f"{_CONSUMER}/warehouse.py",
        "if rejects:",
        "if False:",
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "aborted transactions are read",
        f"{_CONSUMER}/kafka.py",
        '"isolation.level": "read_committed"',
        '"isolation.level": "read_uncommitted"',
        faults=(kill_producers_on_a_slow_network,) * 2,
    ),
    Mutant(
        "the last message of a batch is read again",
        f"{_CONSUMER}/batch.py",
        "last + 1, last_ids",
        "last, last_ids",
    ),
    Mutant(
        "a page begins with the row before it",
        f"{_PRODUCER}/sqlite.py",
        "WHERE transaction_id > ?4",
        "WHERE transaction_id >= ?4",
    ),
    Mutant(
        "a page leaves out its first row",
        f"{_PRODUCER}/sqlite.py",
        "WHERE transaction_id > ?4",
        "WHERE transaction_id > ?4 + 1",
    ),
    Mutant(
        "the watermark is committed before its page",
        f"{_PRODUCER}/kafka.py",
        "            # Faster than produce_batch",
        "            self._producer.produce(\n"
        "                STATE_TOPIC,\n"
        "                page.watermark.encode(),\n"
        "                state_key(page.watermark.source_id, self._stream),\n"
        "                partition=_STATE_PARTITION,\n"
        "            )\n"
        "            self._producer.commit_transaction(_TIMEOUT_SECONDS)\n"
        "            self._producer.begin_transaction()\n"
        "            # Faster than produce_batch",
        faults=(kill_producers_on_a_slow_network,) * 6,
    ),
    Mutant(
        "the watermark is not read back",
        f"{_PRODUCER}/run.py",
        "known = sender.watermarks()",
        "known = {}",
        faults=(kill_producers,),
    ),
)


def mutated(folder: Path, mutant: Mutant) -> dict[str, str]:
    """Copy code and SQL with the mistake into a folder; return the environment that runs them."""
    file = _ROOT / mutant.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutant.right) == 1, f"{mutant.name}: {mutant.file} does not have its line any more"
    for part in ("sql", _CONSUMER, _PRODUCER):
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / mutant.file).write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    packages = (str((folder / part).parent) for part in (_CONSUMER, _PRODUCER))
    return {"PYTHONPATH": os.pathsep.join(packages), "SQL_DIR": str(folder / "sql")}
