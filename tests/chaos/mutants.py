"""Services with one mistake each. The checker has to find every one, or its silence would mean nothing."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.chaos.faults.disks import fill_the_workbooks_disk
from tests.chaos.faults.files import restore_a_bots_file_from_an_older_copy
from tests.chaos.faults.network import kill_consumers_on_a_slow_network, kill_producers_on_a_slow_network
from tests.chaos.faults.processes import (
    freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away,
    kill_a_consumer_in_mid_load,
    kill_producers,
    run_a_second_producer,
)
from tests.chaos.faults.topics import (
    let_retention_overtake_the_consumers,
    raise_the_number_of_partitions,
    repair_rejects,
    send_foreign_messages,
)
from tests.chaos.nemesis import Fault

_ROOT = Path(__file__).parents[2]


class Edit(NamedTuple):
    """In `file`, the one place with `right` becomes `wrong`."""

    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Mutant:
    """A mistake. `faults` are those that bring it to light, `sign` is among the words of what is found."""

    name: str
    sign: str
    edits: Sequence[Edit]
    faults: Sequence[Fault] = ()


_CONSUMER = "services/consumer/src/crmbot_consumer"
_PRODUCER = "services/producer/src/crmbot_producer"
_EXPORTER = "services/exporter/src/crmbot_exporter"
_PACKAGES = (_CONSUMER, _PRODUCER, _EXPORTER)

MUTANTS = (
    Mutant(
        "no fence",
        "is 2 times in the warehouse",
        [
            Edit(
                "sql/common/001_ledger.sql",
                "PRIMARY KEY (topic, kafka_partition, start_offset)",
                "CHECK (end_offset >= start_offset)",
            )
        ],
        faults=(freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away,) * 2,
    ),
    Mutant(
        "rows and ledger in transactions of their own",
        "is 2 times in the warehouse",
        [
            Edit(
                f"{_CONSUMER}/warehouse.py",
                "with translated_errors(), connection.transaction(), connection.cursor() as cursor:",
                "with translated_errors(), connection.cursor() as cursor:",
            )
        ],
        faults=(kill_consumers_on_a_slow_network,) * 2,
    ),
    Mutant(
        "no duplicate guard",
        "is 2 times in the warehouse",
        [Edit(f"{_CONSUMER}/batch.py", "falling.append(index)", "pass")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "suspects are dropped without a look",
        "is neither loaded nor rejected",
        [Edit(f"{_CONSUMER}/batch.py", "if suspect.row[self._event] not in seen]", "if False]")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "rejects are dropped",
        "is neither loaded nor rejected",
        [Edit(f"{_CONSUMER}/warehouse.py", "if rejects:", "if False:")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "aborted transactions are read",
        "was not committed to Kafka",
        [
            Edit(
                f"{_CONSUMER}/kafka.py",
                '"isolation.level": "read_committed"',
                '"isolation.level": "read_uncommitted"',
            )
        ],
        faults=(kill_producers_on_a_slow_network,) * 2,
    ),
    Mutant(
        "the last message of a batch is read again",
        "rows, rejects and copies, but there are",
        [Edit(f"{_CONSUMER}/batch.py", "max(last + 1, read_to)", "last")],
    ),
    Mutant(
        "a page begins with the row before it",
        "out of order",
        [Edit(f"{_PRODUCER}/sqlite.py", "WHERE transaction_id > ?4", "WHERE transaction_id >= ?4")],
    ),
    Mutant(
        "a page leaves out its first row",
        "is 0 times in Kafka",
        [Edit(f"{_PRODUCER}/sqlite.py", "WHERE transaction_id > ?4", "WHERE transaction_id > ?4 + 1")],
    ),
    Mutant(
        "the watermark is committed before its page",
        "is 0 times in Kafka",
        [
            Edit(
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
            )
        ],
        faults=(kill_producers_on_a_slow_network,) * 6,
    ),
    Mutant(
        "the watermark is not read back",
        "out of order",
        [Edit(f"{_PRODUCER}/run.py", "known = sender.watermarks()", "known = {}")],
        faults=(kill_producers,),
    ),
    Mutant(
        "offsets are taken for numbers without gaps",
        "rows, rejects and copies, but there are",
        [
            Edit(
                f"{_CONSUMER}/batch.py",
                "max(last + 1, read_to)",
                "first + len(messages)",
            )
        ],
    ),
    Mutant(
        "the duplicate guard forgets with every batch",
        "in the warehouse",
        [Edit(f"{_CONSUMER}/batch.py", "last_ids = dict(start.last_ids)", "last_ids: dict[str, int] = {}")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "copies are rejected",
        ", was rejected",
        [Edit(f"{_CONSUMER}/batch.py", "if suspect.row[self._event] not in seen]", "]")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "what retention deleted is skipped",
        "the batch before it ended at",
        [
            Edit(
                f"{_CONSUMER}/ledger.py",
                "if position.next_offset < earliest:",
                "position = replace(position, next_offset=max(position.next_offset, earliest))\n"
                "    if False:",
            ),
            Edit(f"{_CONSUMER}/ledger.py", "import dataclass, field", "import dataclass, field, replace"),
        ],
        faults=(let_retention_overtake_the_consumers,),
    ),
    Mutant(
        "offsets are committed to Kafka before the load, and believed",
        "the batch before it ended at",
        [
            Edit(
                f"{_CONSUMER}/session.py",
                "        self._hand_over(loader, Load(batches,",
                "        kafka.mirror({batch.partition: batch.end.next_offset for batch in batches})\n"
                "        self._hand_over(loader, Load(batches,",
            ),
            Edit(
                f"{_CONSUMER}/kafka.py",
                "        positions = {}",
                "        for place in consumer.committed(partitions, timeout=10):\n"
                "            if place.offset > 0:\n"
                "                ledger[place.partition] = Position(identity, place.offset)\n"
                "        positions = {}",
            ),
        ],
        faults=(kill_a_consumer_in_mid_load,) * 3,
    ),
    Mutant(
        "a lead moves as soon as the topic grows",
        "came before row",
        [Edit(f"{_PRODUCER}/partitions.py", "(sent[-1].partitions if sent else None) or found", "found")],
        faults=(raise_the_number_of_partitions,) * 2,
    ),
    Mutant(
        "rows are spread anew before those sent are loaded",
        "before everything was loaded",
        [Edit(f"{_PRODUCER}/repartition.py", "if waiting is not None:", "if False:")],
        faults=(raise_the_number_of_partitions,) * 2,
    ),
    Mutant(
        "a replay is not marked",
        "was in no file of the bot",
        [
            Edit(
                f"{_CONSUMER}/rejects.py",
                "connection.execute(_MARK, (settings.topic, partition, offset))",
                "pass",
            )
        ],
        faults=(repair_rejects,),
    ),
    Mutant(
        "a restored file is not noticed",
        "stops: was replaced or restored",
        [Edit(f"{_PRODUCER}/watermark.py", "found_event_id == watermark.event_id", "True")],
        faults=(restore_a_bots_file_from_an_older_copy,),
    ),
    Mutant(
        "a producer does not take over from the one before it",
        "is 2 times in Kafka",
        [
            Edit(
                f"{_PRODUCER}/kafka.py",
                '"transactional.id": f"crmbot-producer-{mrf}-{stream}"',
                '"transactional.id": f"crmbot-producer-{mrf}-{stream}-{time.monotonic_ns()}"',
            ),
            Edit(f"{_PRODUCER}/kafka.py", "import warnings", "import time\nimport warnings"),
        ],
        faults=(run_a_second_producer, kill_producers),
    ),
    Mutant(
        "a workbook is written where the old one is",
        "other files: True",
        [
            Edit(
                f"{_EXPORTER}/files.py",
                "temporary, file = _locked_file(path)",
                'temporary, file = path, path.open("wb")',
            ),
            Edit(
                f"{_EXPORTER}/files.py", "            temporary.unlink(missing_ok=True)", "            pass"
            ),
        ],
        faults=(fill_the_workbooks_disk,),
    ),
)


def mutated(folder: Path, mutant: Mutant) -> dict[str, str]:
    """Copy code and SQL with the mistake into a folder; return the environment that runs them."""
    for part in ("sql", *_PACKAGES):
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file, right, wrong in mutant.edits:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(right) == 1, f"{mutant.name}: {file} does not have its line any more"
        (folder / file).write_text(text.replace(right, wrong), encoding="utf-8")
    packages = (str((folder / part).parent) for part in _PACKAGES)
    return {"PYTHONPATH": os.pathsep.join(packages), "SQL_DIR": str(folder / "sql")}
