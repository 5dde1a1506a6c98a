"""A bot with its own tables, mapped by views: adopted, sent and recovered like any other."""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.integration.pipeline import Pipeline, wait_until

# Unix time, kopecks and the bot's own terms; the manager is an immutable row of another table.
TOUCHES = """
    CREATE TABLE staff (code TEXT PRIMARY KEY, full_name TEXT, office TEXT, town TEXT);
    INSERT INTO staff VALUES ('M1', 'Анна Петрова', 'Московский филиал', 'Москва');
    CREATE TABLE touches (
        id INTEGER PRIMARY KEY AUTOINCREMENT, uid BLOB NOT NULL DEFAULT (randomblob(16)),
        at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)), lead INTEGER NOT NULL,
        who TEXT NOT NULL, what TEXT NOT NULL, outcome TEXT NOT NULL, why TEXT NOT NULL DEFAULT '',
        kopecks INTEGER NOT NULL
    );
    CREATE VIEW actions AS SELECT
        t.id AS transaction_id,
        lower(substr(hex(t.uid), 1, 8) || '-' || substr(hex(t.uid), 9, 4) || '-' || substr(hex(t.uid), 13, 4)
            || '-' || substr(hex(t.uid), 17, 4) || '-' || substr(hex(t.uid), 21, 12)) AS event_id,
        strftime('%Y-%m-%dT%H:%M:%fZ', t.at, 'unixepoch') AS occurred_at,
        strftime('%Y-%m-%dT%H:%M:%fZ', t.at, 'unixepoch') AS recorded_at,
        'L' || t.lead AS lead_id, 'C' || t.lead AS client_id, 'individual' AS segment,
        t.who AS manager_id, s.full_name AS manager_name, s.office AS branch, s.town AS city,
        'Клиент ' || t.lead AS client_name,
        CASE t.what WHEN 'звонок' THEN 'call' WHEN 'встреча' THEN 'meeting' END AS action,
        CASE t.what WHEN 'звонок' THEN 'phone' WHEN 'встреча' THEN 'office' END AS channel,
        'Интернет' AS product,
        CASE t.outcome WHEN 'думает' THEN 'thinking' WHEN 'отказ' THEN 'refused' END AS result,
        nullif(t.why, '') AS refusal_reason,
        printf('%d.%02d', t.kopecks / 100, t.kopecks % 100) AS potential_revenue
    FROM touches t LEFT JOIN staff s ON s.code = t.who;
"""
# An order is one row that is updated in place; triggers append each of its steps to a journal.
ORDERS = """
    CREATE TABLE orders (
        number TEXT PRIMARY KEY, lead INTEGER NOT NULL, state TEXT NOT NULL, price REAL NOT NULL
    );
    CREATE TABLE order_steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4'
            || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-'
            || hex(randomblob(6)))),
        at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
        number TEXT NOT NULL, lead INTEGER NOT NULL, state TEXT NOT NULL, price REAL NOT NULL
    );
    CREATE TRIGGER order_begun AFTER INSERT ON orders BEGIN
        INSERT INTO order_steps (number, lead, state, price)
        VALUES (new.number, new.lead, new.state, new.price);
    END;
    CREATE TRIGGER order_moved AFTER UPDATE OF state ON orders WHEN new.state <> old.state BEGIN
        INSERT INTO order_steps (number, lead, state, price)
        VALUES (new.number, new.lead, new.state, new.price);
    END;
    CREATE VIEW nature AS SELECT
        id AS transaction_id, event_id, at AS occurred_at, at AS recorded_at, 'L' || lead AS lead_id,
        'C' || lead AS client_id, 'individual' AS segment, 'M1' AS manager_id, 'Анна Петрова' AS manager_name,
        'Московский филиал' AS branch, 'Москва' AS city, number AS order_id, 'Интернет' AS service,
        'Домашний 100' AS tariff, 1 AS units,
        CASE state WHEN 'заявка' THEN 'application' WHEN 'подключен' THEN 'connected' END AS status,
        NULL AS lost_reason, '0.00' AS one_off_revenue, printf('%.2f', price) AS monthly_revenue
    FROM order_steps;
"""


class OwnBot:
    """A bot that is unaware of the pipeline."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count(1)
        for stream, script in (("actions", TOUCHES), ("nature", ORDERS)):
            with closing(self._open(stream)) as connection:
                connection.executescript(f"PRAGMA journal_mode = WAL; {script}")

    def write_leads(self, leads: int) -> None:
        """Commit two touches and two steps of an order for each of `leads` new leads."""
        with closing(self._open("actions")) as actions, closing(self._open("nature")) as nature:
            for lead in itertools.islice(self._numbers, leads):
                actions.executemany(
                    "INSERT INTO touches (lead, who, what, outcome, why, kopecks) "
                    "VALUES (?, 'M1', ?, ?, ?, ?)",
                    [(lead, "звонок", "думает", "", 65_050), (lead, "встреча", "отказ", "дорого", 65_005)],
                )
                nature.execute("INSERT INTO orders VALUES (?, ?, 'заявка', 650.5)", (f"N-{lead}", lead))
                nature.execute("UPDATE orders SET state = 'подключен' WHERE number = ?", (f"N-{lead}",))

    @contextmanager
    def keep_writing(self) -> Iterator[None]:
        """Write in a thread within the block."""
        stop = threading.Event()

        def write() -> None:
            while not stop.wait(0.01):
                self.write_leads(1)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _open(self, stream: str) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / f"{stream}.db", timeout=30, isolation_level=None)


def has_more_rows(pipeline: Pipeline, stream: str, rows: int) -> Callable[[], bool]:
    return lambda: pipeline.in_warehouse(stream) > rows


def test_every_row_arrives_once_while_a_bot_with_its_own_tables_keeps_writing(pipeline: Pipeline) -> None:
    bot = OwnBot(pipeline.data)
    bot.write_leads(500)
    for stream in ("actions", "nature"):
        assert "adopted as source" in pipeline.check_output("crmbot-producer", "adopt", "--stream", stream)
        assert "adopted already" in pipeline.check_output("crmbot-producer", "adopt", "--stream", stream)
    with bot.keep_writing():
        for stream in ("actions", "nature"):
            pipeline.produce(stream)
            pipeline.consume(stream)
        for stream in ("actions", "nature"):
            wait_until(
                has_more_rows(pipeline, stream, 1_100), f"rows of {stream} written meanwhile are loaded"
            )
    result = pipeline.audit()
    assert result["clean"], result
    for stream in result["streams"]:
        assert stream["rows_in_file"] == stream["rows_in_warehouse"] > 1_100
    assert pipeline.query(
        "SELECT action, channel, result, refusal_reason, potential_revenue::text FROM {actions} "
        "WHERE lead_id = 'L1' ORDER BY transaction_id"
    ) == [("call", "phone", "thinking", None, "650.50"), ("meeting", "office", "refused", "дорого", "650.05")]
    assert pipeline.query(
        "SELECT status, monthly_revenue::text FROM {nature} WHERE lead_id = 'L1' ORDER BY transaction_id"
    ) == [("application", "650.50"), ("connected", "650.50")]


def test_a_file_with_a_view_is_repartitioned_restored_and_resent(pipeline: Pipeline) -> None:
    bot = OwnBot(pipeline.data)
    bot.write_leads(100)
    for stream in ("actions", "nature"):
        pipeline.check_output("crmbot-producer", "adopt", "--stream", stream)
    nature, consumer = pipeline.produce("nature"), pipeline.consume("nature")
    pipeline.send_all()
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="5")
    assert "go to 5 partitions" in pipeline.check_output(
        "crmbot-producer", "repartition", "--stream", "actions"
    )
    backup = pipeline.back_up()
    bot.write_leads(50)
    pipeline.send_all()
    pipeline.wait_for_all("actions")
    assert pipeline.query("SELECT count(DISTINCT kafka_partition) FROM {actions}") == [(5,)]
    (pipeline.data / "actions.db").unlink()  # the producer keeps the old file open
    pipeline.restore(backup)
    bot.write_leads(20)
    refused = pipeline.run("crmbot-producer", "run", "--stream", "actions")
    assert refused.returncode == 3
    assert "was replaced or restored" in refused.stderr
    assert "rows after 200 belong to" in pipeline.check_output(
        "crmbot-producer", "new-source", "--stream", "actions"
    )
    pipeline.check_output("crmbot-producer", "resend", "--stream", "actions")
    pipeline.send_all()
    assert nature.process.poll() is None
    assert consumer.process.poll() is None
    result = pipeline.audit()
    assert result["clean"], result
