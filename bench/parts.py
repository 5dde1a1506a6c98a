"""The parts of the benchmark: consumer, producer, memory. Each appends its runs to `runs`."""

from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from bench.baselines import bare_produce, insert_loop, psql_copy
from bench.measure import Comparison, Run
from bench.pipeline import Pipeline
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
    pipeline: Pipeline, rows: int, rounds: int, insert_rows: int, folder: Path, runs: list[Run], say: Say
) -> list[Comparison]:
    r"""Compare the consumer with `\copy` of the same rows, and with a loop of poll and INSERT."""
    topic, columns, file = ACTIONS.topic(pipeline.mrf), ACTIONS.column_names, folder / "rows.txt"
    names = (*columns, "kafka_offset")
    pipeline.warehouse.execute(f"CREATE TABLE {_TWIN} (LIKE {topic} INCLUDING ALL)".encode())
    ours: list[Run] = []
    copied, inserted = [], []
    for number in range(1, rounds + 1):
        ours.append(pipeline.consume("actions", rows))
        if not file.exists():
            psql_copy(pipeline.dsn, topic, names, "to", file)
        pipeline.empty(_TWIN)
        copied.append(rows / psql_copy(pipeline.dsn, _TWIN, names, "from", file))
        pipeline.check_row_count(_TWIN, rows)
        pipeline.empty(_TWIN)
        seconds = insert_loop(pipeline.bootstrap, pipeline.dsn, topic, _TWIN, columns, insert_rows)
        inserted.append(insert_rows / seconds)
        pipeline.check_row_count(_TWIN, insert_rows)
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


def producer(pipeline: Pipeline, rounds: int, runs: list[Run], say: Say) -> list[Comparison]:
    """Compare the producer with a loop that sends the same messages from memory."""
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    messages = _messages(pipeline)
    ours: list[Run] = []
    bare = []
    for number in range(1, rounds + 1):
        pipeline.move_to(f"mrf{number + 1}")
        ours.append(pipeline.produce("actions"))
        topic = f"bench_{number}"
        wait_for(admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic])
        bare.append(len(messages) / bare_produce(pipeline.bootstrap, topic, messages))
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


def memory(pipeline: Pipeline, rows: int, folder: Path, runs: list[Run], say: Say) -> None:
    """Run every service over all rows of both streams."""
    say("memory: all services over all rows of both streams")
    runs.append(pipeline.produce("nature"))
    runs.append(pipeline.consume("nature", pipeline.newest("nature")))
    runs.append(pipeline.consume("actions", rows))
    runs.append(pipeline.audit())
    runs.append(pipeline.export(folder, rows))


def _messages(pipeline: Pipeline) -> list[tuple[bytes, bytes]]:
    """Return the keys and values of the messages that the producer sends for actions.db."""
    file = BotFile(pipeline.data / "actions.db", ACTIONS, pipeline.mrf)
    (identity,) = file.identities()
    offset = nothing_sent(identity)
    messages: list[tuple[bytes, bytes]] = []
    while page := file.page(identity, offset.transaction_id, _PAGE_ROWS):
        sent = chained(page, offset, PARTITIONS)
        messages += zip((key or b"" for key in page.keys), sent.messages(), strict=True)
        offset = sent.offset
    file.close()
    return messages
