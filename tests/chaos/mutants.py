"""Services with one bug each. The checker must detect every one, or a clean run would prove nothing."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.chaos.faults.disks import fill_the_workbooks_disk
from tests.chaos.faults.files import restore_a_bots_file_from_an_older_copy
from tests.chaos.faults.identities import replace_a_bots_file_with_one_that_has_two_identities
from tests.chaos.faults.logs import recreate_a_topic
from tests.chaos.faults.network import kill_consumers_on_a_slow_network, kill_producers_on_a_slow_network
from tests.chaos.faults.processes import (
    freeze_a_consumer_in_mid_load_until_its_partitions_are_reassigned,
    kill_a_consumer_in_mid_load,
    kill_producers,
    run_a_second_producer,
)
from tests.chaos.faults.rows import repair_rejects
from tests.chaos.faults.topics import (
    add_partitions_to_a_topic,
    let_retention_overtake_the_consumers,
    send_foreign_messages,
)
from tests.chaos.faults.transactions import (
    freeze_producers_in_mid_page,
    restart_producers_while_a_transaction_is_open,
)
from tests.chaos.nemesis import Fault

_ROOT = Path(__file__).parents[2]


class Edit(NamedTuple):
    """Replaces the only occurrence of `right` in `file` with `wrong`."""

    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        name: of the bug.
        finding: a part of a finding that exposes it.
        edits: the bug.
        faults: the faults that expose it.
        settings: settings of the services that it needs.
    """

    name: str
    finding: str
    edits: Sequence[Edit]
    faults: Sequence[Fault] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


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
                "PRIMARY KEY (topic, kafka_partition, log_epoch, start_offset)",
                "CHECK (end_offset >= start_offset)",
            )
        ],
        faults=(freeze_a_consumer_in_mid_load_until_its_partitions_are_reassigned,) * 2,
    ),
    Mutant(
        "rows and ledger in separate transactions",
        "is 0 times in the warehouse",
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
        [
            Edit(
                f"{_CONSUMER}/batch.py",
                "            verdict = chains.verdict(link, message.offset)\n",
                "            verdict = chains.verdict(link, message.offset)\n"
                "            verdict = Verdict.NEXT if verdict is Verdict.SEEN else verdict\n",
            ),
            Edit(
                f"{_CONSUMER}/chain.py",
                "        filled = self._gap_before(link)\n",
                "        filled = self._gap_before(link)\n        if filled is None:\n            return\n",
            ),
        ],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "suspected copies are dropped without a lookup",
        "is neither loaded nor rejected",
        [Edit(f"{_CONSUMER}/batch.py", "            if not is_copy:", "            if False:")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "rejects are dropped",
        "is neither loaded nor rejected",
        [Edit(f"{_CONSUMER}/warehouse.py", "            if rejects:", "            if False:")],
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
        "the partition of a message is not checked",
        "is neither loaded nor rejected",
        [
            Edit(
                f"{_CONSUMER}/batch.py",
                "            elif row[self._partition] != here:",
                "            elif False:",
            ),
            Edit(f"{_CONSUMER}/batch.py", "link.kafka_partition != partition:", "False:"),
        ],
        faults=(send_foreign_messages,) * 3,
    ),
    Mutant(
        "a gap in a chain is ignored",
        "was loaded before row",
        [
            Edit(
                f"{_CONSUMER}/chain.py",
                "        return Verdict.NEXT if is_accepted else Verdict.GAP",
                "        return Verdict.NEXT",
            )
        ],
        faults=(recreate_a_topic,) * 2,
    ),
    Mutant(
        "a page begins with the row before it",
        "out of order",
        [
            Edit(f"{_PRODUCER}/sqlite_page.py", "WHERE transaction_id > ?4", "WHERE transaction_id >= ?4"),
        ],
    ),
    Mutant(
        "a page skips its first row",
        "is 0 times in Kafka",
        [Edit(f"{_PRODUCER}/sqlite_page.py", "WHERE transaction_id > ?4", "WHERE transaction_id > ?4 + 1")],
    ),
    Mutant(
        "the source offset is committed before its page",
        "is 0 times in Kafka",
        [
            Edit(
                f"{_PRODUCER}/kafka.py",
                "            # Faster than produce_batch",
                "            self._produce_offset(page.offset)\n"
                "            self._producer.commit_transaction(_TIMEOUT_SECONDS)\n"
                "            self._producer.begin_transaction()\n"
                "            # Faster than produce_batch",
            )
        ],
        faults=(kill_producers_on_a_slow_network,) * 6,
    ),
    Mutant(
        "the source offsets are not read back",
        "times in Kafka",
        [
            Edit(f"{_PRODUCER}/run.py", "known = sender.offsets(sources)", "known = {}"),
            Edit(f"{_PRODUCER}/run.py", "if not sender.is_topic_unused():", "if False:"),
        ],
        faults=(kill_producers,),
    ),
    Mutant(
        "the state topic is read only to the last stable offset",
        "the newest records were lost",
        [
            Edit(
                f"{_PRODUCER}/committed.py",
                "offsets(admin_client(settings), list(starts), LATEST)",
                "offsets(admin_client(settings), list(starts), LATEST, IsolationLevel.READ_COMMITTED)",
            ),
            Edit(
                f"{_PRODUCER}/committed.py",
                "import Consumer, KafkaError,",
                "import Consumer, IsolationLevel, KafkaError,",
            ),
        ],
        faults=(restart_producers_while_a_transaction_is_open,) * 2,
    ),
    Mutant(
        "the current identity is sent first",
        "is 0 times in Kafka",
        [
            Edit(
                f"{_PRODUCER}/run.py",
                "                for identity in identities:",
                "                for identity in reversed(identities):",
            )
        ],
        faults=(replace_a_bots_file_with_one_that_has_two_identities,),
    ),
    Mutant(
        "offsets are assumed to have no gaps",
        "rows, rejects and copies, but there are",
        [Edit(f"{_CONSUMER}/batch.py", "max(last + 1, read_to)", "first + len(messages)")],
    ),
    Mutant(
        "the ends of the chains are reset with every batch",
        "the ledger has lost rows",
        [
            Edit(
                f"{_CONSUMER}/chain.py",
                "self.last_ids = dict(start.last_ids)",
                "self.last_ids: dict[str, int] = {}",
            )
        ],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "copies are rejected",
        "was loaded before, was rejected",
        [Edit(f"{_CONSUMER}/batch.py", "            if not is_copy:", "            if True:")],
        faults=(send_foreign_messages,) * 2,
    ),
    Mutant(
        "what retention deleted is skipped",
        "stops: retention deleted",
        [
            Edit(
                f"{_CONSUMER}/position.py",
                "if position.next_offset < earliest:",
                "position = replace(position, next_offset=max(position.next_offset, earliest))\n"
                "    if False:",
            ),
            Edit(
                f"{_CONSUMER}/position.py",
                "from crmbot_core.errors",
                "from dataclasses import replace\n\nfrom crmbot_core.errors",
            ),
        ],
        faults=(let_retention_overtake_the_consumers,),
    ),
    Mutant(
        "offsets are committed to Kafka before the load, and used to resume",
        "data loss",
        [
            Edit(
                f"{_CONSUMER}/session.py",
                "        self._hand_over(Load(batches,",
                "        kafka.mirror({batch.partition: batch.end.next_offset for batch in batches})\n"
                "        self._hand_over(Load(batches,",
            ),
            Edit(
                f"{_CONSUMER}/kafka.py",
                "        positions = {}",
                "        for place in self._consumer.committed(partitions, timeout=10):\n"
                "            if place.offset > 0:\n"
                "                ledger[place.partition] = Position(identity, place.offset)\n"
                "        positions = {}",
            ),
        ],
        faults=(kill_a_consumer_in_mid_load,) * 3,
    ),
    Mutant(
        "the ledger of an idle partition advances to the high watermark",
        "data loss",
        [
            Edit(
                f"{_CONSUMER}/session.py",
                "max(position.next_offset, kafka.read_to(partition))",
                "position.next_offset + kafka.lag(partition, position.next_offset)",
            )
        ],
        faults=(freeze_producers_in_mid_page,) * 3,
        settings={"STUCK_MINUTES": "0.5"},  # the ledger of an idle partition advances every three seconds
    ),
    Mutant(
        "keys are repartitioned as soon as partitions are added",
        "was loaded before row",
        [
            Edit(
                f"{_PRODUCER}/partitions.py",
                "return next((offset.partitions for offset in reversed(sent) if offset.partitions), found)",
                "return found",
            )
        ],
        faults=(add_partitions_to_a_topic,) * 2,
    ),
    Mutant(
        "repartition does not wait until everything is loaded",
        "before everything was loaded",
        [
            Edit(f"{_PRODUCER}/ledger.py", "    if waiting is not None:", "    if False:"),
            Edit(f"{_PRODUCER}/repartition.py", "        if differ or is_behind:", "        if False:"),
        ],
        faults=(add_partitions_to_a_topic,) * 2,
    ),
    Mutant(
        "a replay is not marked",
        "is 1 times in the warehouse",
        [
            Edit(
                f"{_CONSUMER}/rejects.py",
                "connection.execute(\n"
                "                _MARK, (settings.topic, place.partition, found.log_epoch, "
                "place.offset, event_id)\n"
                "            )",
                "pass",
            )
        ],
        faults=(repair_rejects,),
    ),
    Mutant(
        "a replay without a transaction",
        "was replayed",
        [
            Edit(
                f"{_CONSUMER}/rejects.py",
                "with connect(settings) as connection, translated_errors(), connection.transaction():",
                "with connect(settings) as connection, translated_errors():",
            )
        ],
        faults=(repair_rejects,) * 2,
    ),
    Mutant(
        "a restored file is not detected",
        "stops: was replaced or restored",
        [
            Edit(
                f"{_PRODUCER}/source_offset.py",
                "    row = offset.transaction_id\n",
                "    return\n    row = offset.transaction_id\n",
            )
        ],
        faults=(restore_a_bots_file_from_an_older_copy,),
    ),
    Mutant(
        "a producer does not fence its predecessor",
        "times in Kafka",
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
        "the audit compares ids only",
        "audit did not detect",
        [
            Edit(
                f"{_PRODUCER}/audit/compare.py",
                "            if theirs.event_id != ours.event_id and (is_there or not is_repaired):",
                "            if False:",
            ),
            Edit(
                f"{_PRODUCER}/audit/compare.py",
                "            if not is_there and theirs != ours:",
                "            if False:",
            ),
        ],
    ),
    Mutant(
        "a workbook is overwritten in place",
        "files changed: True",
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
    """Copy code and SQL with the bug into a folder; return the environment that runs the copy."""
    for part in ("sql", *_PACKAGES):
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file, right, wrong in mutant.edits:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(right) == 1, f"{mutant.name}: {file} no longer has the text to replace exactly once"
        (folder / file).write_text(text.replace(right, wrong), encoding="utf-8")
    packages = (str((folder / part).parent) for part in _PACKAGES)
    return {"PYTHONPATH": os.pathsep.join(packages), "SQL_DIR": str(folder / "sql"), **mutant.settings}
