import socket
from pathlib import Path
from signal import SIGKILL

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from devstack import DevstackError, Postgres
from devstack.server import still_running


def execute(postgres: Postgres, sql: str) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute(sql)


def value(postgres: Postgres, sql: str) -> object:
    with psycopg.connect(postgres.dsn) as connection:
        row = connection.execute(sql).fetchone()
        assert row is not None
        return row[0]


def test_rows_survive_stop_and_kill(tmp_path: Path) -> None:
    directory = tmp_path / "База 1"
    with Postgres(directory) as postgres:
        execute(postgres, "CREATE TABLE greetings (text text)")
        execute(postgres, "INSERT INTO greetings VALUES ('before the stop')")
    with Postgres(directory) as postgres:
        execute(postgres, "INSERT INTO greetings VALUES ('before the kill')")
        family = [psutil.Process(postgres.pid), *psutil.Process(postgres.pid).children()]
        postgres.kill()
        assert len(family) > 3
        assert still_running(family, seconds=0) == []
        postgres.start()
        postmaster = psutil.Process(postgres.pid)
        postmaster.send_signal(SIGKILL)
        assert still_running([postmaster], seconds=10) == []
        postgres.start()
        assert value(postgres, "SELECT count(*) FROM greetings") == 2


def test_settings_are_durable_and_can_be_overridden(tmp_path: Path) -> None:
    with Postgres(tmp_path, settings={"lock_timeout": "7s"}) as postgres:
        shown = {
            name: value(postgres, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "server_encoding", "timezone", "lock_timeout")
        }
        assert shown == {
            "fsync": "on",
            "synchronous_commit": "on",
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "lock_timeout": "7s",
        }
        assert value(postgres, "SELECT lower('МРФ')") == "мрф"


def test_tcp_connections_need_the_password(tmp_path: Path) -> None:
    with Postgres(tmp_path, tcp=True) as postgres:
        assert conninfo_to_dict(postgres.dsn)["host"] == "127.0.0.1"
        assert "password" not in conninfo_to_dict(postgres.dsn)
        assert value(postgres, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(make_conninfo(postgres.dsn, passfile="/dev/null"))


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with Postgres(tmp_path / ("d" * 100)) as postgres:
        assert value(postgres, "SELECT 1") == 1


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    with Postgres(tmp_path) as postgres:
        with pytest.raises(DevstackError, match="in use by another run"):
            Postgres(tmp_path).start()
        assert value(postgres, "SELECT 1") == 1


def test_an_unusable_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevstackError, match="use another directory"):
        Postgres(tmp_path / "file")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path, tcp=True)
    with socket.create_server(("127.0.0.1", postgres.port)), pytest.raises(DevstackError, match="port"):
        postgres.start()
