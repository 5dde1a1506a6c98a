"""A warehouse with TLS, and the four roles that the SQL in docs/install.md creates."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from devstack import Kafka
from devstack.certificates import Authority, Certificate
from devstack.secured_postgres import SecuredPostgres
from tests.integration.pipeline import Pipeline, wait_until

_INSTALL = Path(__file__).parents[2] / "docs" / "install.md"
_NUMBERS = itertools.count(800)
_PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredPostgres]:
    """A server with the databases `passwords` and `certificates`, and the documented roles in both."""
    with SecuredPostgres(tmp_path_factory.mktemp("secured"), authority) as postgres:
        roles, grants = statements()
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE analysts")
            connection.execute(roles.encode())
            for database in ("passwords", "certificates"):
                connection.execute(f"CREATE DATABASE {database}".encode())
                with psycopg.connect(postgres.dsn, dbname=database, autocommit=True) as inside:
                    inside.execute(grants.encode())
        yield postgres


def statements() -> tuple[str, str]:
    """Return the SQL of docs/install.md: the statements that create the roles, and the others."""
    block = re.search(
        r"^    CREATE ROLE crm_bot_owner.*?^(?=\S)", _INSTALL.read_text(), re.MULTILINE | re.DOTALL
    )
    assert block
    lines = [line.strip().replace("…", _PASSWORD) for line in block[0].splitlines()]
    roles = [line for line in lines if line.startswith("CREATE ROLE")]
    return "\n".join(roles), "\n".join(line for line in lines if line not in roles)


def role(secured: SecuredPostgres, authority: Authority, name: str, **parts: object) -> dict[str, str]:
    """Return the settings with which a role connects to `passwords`; `parts` override parts of the DSN."""
    place = {"host": "127.0.0.1", "port": secured.port, "dbname": "passwords", "user": f"crm_bot_{name}"}
    tls = {"sslmode": "verify-full", "sslrootcert": authority.ca}
    return {
        "WAREHOUSE_DSN": make_conninfo("", **{k: str(v) for k, v in (place | tls | parts).items()}),
        "WAREHOUSE_PASSWORD": _PASSWORD,
    }


def with_certificate(certificate: Certificate) -> dict[str, object]:
    return {"dbname": "certificates", "sslcert": certificate.chain, "sslkey": certificate.key}


@pytest.fixture
def pipeline(kafka: Kafka, secured: SecuredPostgres, tmp_path: Path) -> Iterator[Pipeline]:
    """An MRF with topics and without tables; `query` runs as the superuser."""
    dsn = make_conninfo(secured.dsn, dbname="passwords", options="-c search_path=crm_bot")
    pipeline = Pipeline(f"mrf{next(_NUMBERS)}", tmp_path, kafka.bootstrap_servers, dsn)
    pipeline.check_output("crmbot-producer", "topics")
    try:
        yield pipeline
    finally:
        pipeline.close()


@pytest.mark.parametrize("database", ["passwords", "certificates"])
def test_each_role_can_do_its_work(
    pipeline: Pipeline, secured: SecuredPostgres, authority: Authority, tmp_path: Path, database: str
) -> None:
    def variables(name: str) -> dict[str, str]:
        if database == "passwords":
            return role(secured, authority, name)
        with_its_own = with_certificate(authority.issue(f"crm_bot_{name}"))
        return role(secured, authority, name, **with_its_own) | {"WAREHOUSE_PASSWORD": ""}

    pipeline.dsn = make_conninfo(pipeline.dsn, dbname=database)
    pipeline.check_output("crmbot-consumer", "migrate", **variables("owner"))
    pipeline.backfill(1_000)
    loader = variables("loader")
    running = [pipeline.produce(stream) for stream in ("actions", "nature")]
    running += [pipeline.consume(stream, **loader) for stream in ("actions", "nature")]
    pipeline.wait_for_all("actions")
    pipeline.wait_for_all("nature")
    pipeline.check_output("crmbot-producer", "audit", "--wait", "30", **variables("auditor"))
    pipeline.check_output("crmbot-consumer", "maintain", "--reorganize", **variables("owner"))
    for name in ("loader", "exporter", "auditor"):
        refused = pipeline.run("crmbot-consumer", "maintain", **variables(name))
        assert refused.returncode == 2
        assert "belongs to the role crm_bot_owner" in refused.stderr
    assert [service.terminate() for service in running] == [0, 0, 0, 0]
    pipeline.check_output("crmbot-consumer", "rejects", "list", "--stream", "actions", **loader)
    pipeline.check_output("crmbot-producer", "resend", "--stream", "actions", **loader)
    for stream in ("actions", "nature"):
        files = {"OUTPUT_DIR": str(tmp_path), "STREAM": stream}
        pipeline.check_output("crmbot-exporter", "export", **variables("exporter"), **files)
        assert (tmp_path / f"{stream}_{pipeline.mrf}.xlsx").exists()


def test_no_role_can_change_loaded_rows(
    pipeline: Pipeline, secured: SecuredPostgres, authority: Authority
) -> None:
    pipeline.check_output("crmbot-consumer", "migrate", **role(secured, authority, "owner"))
    for name in ("loader", "exporter", "auditor"):
        dsn = role(secured, authority, name)["WAREHOUSE_DSN"]
        with psycopg.connect(dsn, password=_PASSWORD, autocommit=True) as connection:
            for table in (f"crm_bot_actions_{pipeline.mrf}", "crm_bot_ledger", "crm_bot_rejects"):
                for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"DROP TABLE {table}"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(statement.encode())


REFUSED = {
    "a wrong password": "password authentication failed",
    "no password": "no password supplied",
    "an unknown role": "password authentication failed",
    "an unknown database": 'database "nowhere" does not exist',
    "a connection without encryption": "no pg_hba.conf entry",
    "an authority that did not sign the server's certificate": "certificate verify failed",
    "a name that is not in the server's certificate": "does not match host name",
    "a missing file": 'root certificate file "/nowhere/ca.pem" does not exist',
    "no certificate": "requires a valid client certificate",
    "a certificate of another role": "certificate authentication failed",
    "a certificate that has expired": "certificate expired",
    "a certificate of another authority": "unknown ca",
}


@pytest.mark.parametrize("flaw", REFUSED)
def test_a_client_refused_by_the_warehouse_exits_with_one_line(
    pipeline: Pipeline, secured: SecuredPostgres, authority: Authority, tmp_path: Path, flaw: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    parts: dict[str, dict[str, object]] = {
        "an unknown role": {"user": "nobody"},
        "an unknown database": {"dbname": "nowhere"},
        "a connection without encryption": {"sslmode": "disable"},
        "an authority that did not sign the server's certificate": {"sslrootcert": other.ca},
        "a name that is not in the server's certificate": {"host": "localhost"},
        "a missing file": {"sslrootcert": "/nowhere/ca.pem"},
        "no certificate": {"dbname": "certificates"},
        "a certificate of another role": with_certificate(authority.issue("crm_bot_owner")),
        "a certificate that has expired": with_certificate(
            authority.issue("crm_bot_loader", has_expired=True)
        ),
        "a certificate of another authority": with_certificate(other.issue("crm_bot_loader")),
    }
    variables = role(secured, authority, "loader", **parts.get(flaw, {}))
    password = {"a wrong password": "wrong", "no password": ""}.get(flaw, _PASSWORD)
    consumer = pipeline.consume("actions", **variables | {"WAREHOUSE_PASSWORD": password})
    assert consumer.exit_code() == 2
    assert REFUSED[flaw] in consumer.last_line
    assert _PASSWORD not in consumer.log.read_text()


def test_a_password_changed_while_a_consumer_runs(
    pipeline: Pipeline, secured: SecuredPostgres, authority: Authority
) -> None:
    """The open connection keeps working; a consumer that reconnects with the old password exits with 2."""
    pipeline.check_output("crmbot-consumer", "migrate", **role(secured, authority, "owner"))
    pipeline.backfill(100)
    variables = role(secured, authority, "loader")
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions", **variables)
    pipeline.wait_for_all("actions")
    try:
        pipeline.query("ALTER ROLE crm_bot_loader PASSWORD 'another'")
        pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
        pipeline.wait_for_all("actions")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'crm_bot_loader'"
        pipeline.query(ended)
        pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
        assert consumer.exit_code() == 2
        assert "password authentication failed" in consumer.last_line
        pipeline.consume("actions", **variables | {"WAREHOUSE_PASSWORD": "another"})
        pipeline.wait_for_all("actions")
    finally:
        pipeline.query(f"ALTER ROLE crm_bot_loader PASSWORD '{_PASSWORD}'")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    assert pipeline.query("SELECT count(DISTINCT event_id) FROM {actions}") == [
        (pipeline.in_file("actions"),)
    ]
