"""The parts of the bench: consumer, producer, memory. Each adds its runs to `runs`."""

from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from bench.measure import Comparison, Run
from bench.rivals import bare_produce, insert_loop, psql_copy
from bench.road import Road
from crmbot_core.contracts import ACTIONS
from crmbot_core.kafka import wait_for
from crmbot_producer.chain import chained
from crmbot_producer.source_offset import nothing_sent
from crmbot_producer.sqlite import BotFile

PARTITIONS = 3
_TWIN = "bench_twin"
_PAGE_ROWS = 10_000

Say = Callable[[str], None]


def consumer(
    road: Road, rows: int, rounds: int, insert_rows: int, folder: Path, runs: list[Run], say: Say
) -> list[Comparison]:
    r"""Compare the consumer with `\copy` of the same rows, and with a loop of poll and INSERT."""
    topic, columns, file = ACTIONS.topic(road.mrf), ACTIONS.column_names, folder / "rows.txt"
    names = (*columns, "kafka_offset")
    road.warehouse.execute(f"CREATE TABLE {_TWIN} (LIKE {topic} INCLUDING ALL)".encode())
    ours: list[Run] = []
    copied, inserted = [], []
    for number in range(1, rounds + 1):
        ours.append(road.consume("actions", rows))
        if not file.exists():
            psql_copy(road.dsn, topic, names, "to", file)
        road.empty(_TWIN)
        copied.append(rows / psql_copy(road.dsn, _TWIN, names, "from", file))
        road.must_hold(_TWIN, rows)
        road.empty(_TWIN)
        seconds = insert_loop(road.bootstrap, road.dsn, topic, _TWIN, columns, insert_rows)
        inserted.append(insert_rows / seconds)
        road.must_hold(_TWIN, insert_rows)
        say(
            f"consumer {number}/{rounds}: {ours[-1].rate:,.0f} rows/s, without start-up "
            rf"{ours[-1].working_rate:,.0f}; \copy {copied[-1]:,.0f}; INSERT loop {inserted[-1]:,.0f}"
        )
    runs += ours
    rates, working = [run.rate for run in ours], [run.working_rate for run in ours]
    return [
        Comparison(r"consumer to \copy", 0.4, rates, copied),
        Comparison(r"consumer to \copy *", 0.4, working, copied),
        Comparison("consumer to INSERT loop *", 25, working, inserted),
    ]


def producer(road: Road, rounds: int, runs: list[Run], say: Say) -> list[Comparison]:
    """Compare the producer with a loop that sends the same messages from memory."""
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    messages = _messages(road)
    ours: list[Run] = []
    bare = []
    for number in range(1, rounds + 1):
        road.move_to(f"mrf{number + 1}")
        ours.append(road.produce("actions"))
        topic = f"bench_{number}"
        wait_for(admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic])
        bare.append(len(messages) / bare_produce(road.bootstrap, topic, messages))
        say(
            f"producer {number}/{rounds}: {ours[-1].rate:,.0f} rows/s, without start-up "
            f"{ours[-1].working_rate:,.0f}; bare loop {bare[-1]:,.0f}"
        )
    runs += ours
    rates, working = [run.rate for run in ours], [run.working_rate for run in ours]
    return [
        Comparison("producer to bare loop", 0.5, rates, bare),
        Comparison("producer to bare loop *", 0.5, working, bare),
    ]


def memory(road: Road, rows: int, folder: Path, runs: list[Run], say: Say) -> None:
    """Let every service handle all rows of both streams."""
    say("memory: all services on all rows of both streams")
    runs.append(road.produce("nature"))
    runs.append(road.consume("nature", road.newest("nature")))
    runs.append(road.consume("actions", rows))
    runs.append(road.audit())
    runs.append(road.export(folder, rows))


def _messages(road: Road) -> list[tuple[bytes, bytes]]:
    """Return key and value of every row of actions.db, as the producer sends them."""
    file = BotFile(road.data / "actions.db", ACTIONS, road.mrf)
    (identity,) = file.identities()
    offset = nothing_sent(identity)
    messages: list[tuple[bytes, bytes]] = []
    while page := file.page(identity, offset.transaction_id, _PAGE_ROWS):
        sent = chained(page, offset, PARTITIONS)
        messages += zip((key or b"" for key in page.keys), sent.messages(), strict=True)
        offset = sent.offset
    file.close()
    return messages
