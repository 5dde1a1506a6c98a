"""The servers when the process that started them is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import psutil
import psycopg
import pytest

from devstack import Kafka, Postgres
from devstack.server import still_running

OWNER = """
import sys
from pathlib import Path
from devstack import Kafka, Postgres
with Kafka(Path(sys.argv[1]) / "kafka") as kafka, Postgres(Path(sys.argv[1]) / "postgres") as postgres:
    print(kafka.pid, postgres.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children when their parent exits")
def test_servers_exit_when_their_owner_is_killed(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    assert owner.stdout is not None
    kafka, postgres = (psutil.Process(int(pid)) for pid in owner.stdout.readline().split())
    with psycopg.connect(Postgres(tmp_path / "postgres").dsn) as connection:
        connection.execute("CREATE TABLE greetings (text text)")
    family = [kafka, postgres, *postgres.children()]
    kafka.send_signal(SIGSTOP)  # an unresponsive broker: the next start must kill it

    os.kill(owner.pid, SIGKILL)

    assert still_running(family[1:], seconds=20) == []
    with Kafka(tmp_path / "kafka"), Postgres(tmp_path / "postgres") as warehouse:
        assert still_running([kafka], seconds=0) == []
        with psycopg.connect(warehouse.dsn) as connection:
            assert connection.execute("SELECT count(*) FROM greetings").fetchone() == (0,)
