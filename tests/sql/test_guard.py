"""The guard refuses SQL that fails or does harm on Greenplum 6, and accepts SQL that works."""

from collections.abc import Mapping

import pytest

from .guard import Storage, problems, storage
from .known import NODES, REASONS, VALUES

STORAGES = {
    "columnar": Storage(is_heap=False, distributed_by=()),
    "heap_by_topic": Storage(is_heap=True, distributed_by=("topic",)),
}

# (refused feature, statement, part of the guard's message)
REFUSED = [
    (
        "on conflict do nothing",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING",
        "ON CONFLICT came with",
    ),
    (
        "on conflict do update",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
        "ON CONFLICT came with",
    ),
    # grammar after 9.4
    ("merge", "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DO NOTHING", "MERGE came with"),
    ("grouping sets", "SELECT a, count(*) FROM t GROUP BY GROUPING SETS ((a), ())", "GROUPING SETS"),
    ("cube", "SELECT a, count(*) FROM t GROUP BY CUBE (a)", "CUBE"),
    ("rollup", "SELECT a, count(*) FROM t GROUP BY ROLLUP (a)", "ROLLUP"),
    ("group by distinct", "SELECT a FROM t GROUP BY DISTINCT a", "GROUP BY DISTINCT"),
    (
        "identity column",
        "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY) WITH (columnar)",
        "IDENTITY columns",
    ),
    (
        "generated column",
        "CREATE TABLE t (a bigint, b bigint GENERATED ALWAYS AS (a) STORED) WITH (columnar)",
        "GENERATED columns",
    ),
    ("overriding", "INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1)", "identity columns"),
    ("add column if not exists", "ALTER TABLE t ADD COLUMN IF NOT EXISTS a text", "ADD COLUMN IF NOT EXISTS"),
    ("column without storage", "ALTER TABLE t ADD COLUMN a text", "ends with :columnar_column"),
    ("column with a collation", 'ALTER TABLE t ADD COLUMN a text COLLATE "C"', "ends with :columnar_column"),
    ("index if not exists", "CREATE INDEX IF NOT EXISTS i ON t (a)", "CREATE INDEX IF NOT EXISTS"),
    ("covering index", "CREATE INDEX i ON t (a) INCLUDE (b)", "INCLUDE came with"),
    ("tablesample", "SELECT a FROM t TABLESAMPLE SYSTEM (1)", "TABLESAMPLE"),
    ("policy", "CREATE POLICY p ON t USING (a = 1)", "row-level security"),
    ("row security", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "row-level security"),
    ("returning old", "INSERT INTO t (a) VALUES (1) RETURNING WITH (OLD AS o) o.a", "RETURNING OLD"),
    (
        "partitioned table",
        "CREATE TABLE t (a date) PARTITION BY RANGE (a) WITH (columnar)",
        "declarative partitions",
    ),
    (
        "partition",
        "CREATE TABLE t PARTITION OF s FOR VALUES FROM (1) TO (2) WITH (columnar)",
        "declarative partitions",
    ),
    ("json_table", "SELECT x FROM JSON_TABLE($1, '$' COLUMNS (x integer PATH '$.x')) AS t", "JSON_TABLE"),
    ("json_query", "SELECT JSON_QUERY(a, '$.x') FROM t", "SQL/JSON functions"),
    ("json object constructor", "SELECT JSON_OBJECT('a' VALUE 1)", "SQL/JSON constructors"),
    ("is json", "SELECT a IS JSON FROM t", "IS JSON"),
    ("groups frame", "SELECT sum(a) OVER (ORDER BY a GROUPS 1 PRECEDING) FROM t", "GROUPS or EXCLUDE"),
    (
        "excluding frame",
        "SELECT sum(a) OVER (ORDER BY a ROWS UNBOUNDED PRECEDING EXCLUDE TIES) FROM t",
        "GROUPS or EXCLUDE",
    ),
    ("range frame", "SELECT sum(a) OVER (ORDER BY a RANGE 1 PRECEDING) FROM t", "RANGE and an offset"),
    ("materialized with", "WITH a AS MATERIALIZED (SELECT 1) SELECT 1 FROM a", "AS MATERIALIZED"),
    ("not materialized with", "WITH a AS NOT MATERIALIZED (SELECT 1) SELECT 1 FROM a", "AS MATERIALIZED"),
    ("call", "CALL p()", "procedures"),
    ("multirange", "SELECT a::int4multirange FROM t", "type int4multirange"),
    ("with ties", "SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES", "WITH TIES"),
    ("copy where", "COPY t (a) FROM STDIN WHERE a > 1", "COPY … WHERE"),
    ("copy on_error", "COPY t (a) FROM STDIN WITH (ON_ERROR ignore)", "COPY option on_error"),
    ("join using as", "SELECT 1 FROM t JOIN s USING (a) AS j", "USING … AS"),
    ("alias of insert", "INSERT INTO t AS x (a) VALUES (1)", "INSERT INTO … AS"),
    ("subquery without alias", "SELECT a FROM (SELECT 1 AS a)", "needs an alias"),
    ("label without as", "SELECT a action FROM t", "needs AS"),
    ("underscores in numbers", "SELECT 1_000", "underscores"),
    ("hexadecimal number", "SELECT 0xff", "other bases"),
    ("no sql", "SELECT FROM WHERE", "does not parse"),
    # functions, operators and settings after 9.4
    ("jsonb_build_object", "SELECT jsonb_build_object('a', 1)", "jsonb_build_object()"),
    ("gen_random_uuid", "SELECT gen_random_uuid()", "gen_random_uuid()"),
    ("a newer signature", "SELECT to_char(a, 'YYYY', true) FROM t", "to_char() with 3 arguments"),
    ("current_setting", "SELECT current_setting('x', true)", "current_setting()"),
    ("at local", "SELECT a AT LOCAL FROM t", "timezone() with 1 arguments"),
    ("path operator", "SELECT a FROM t WHERE b @? '$.a'", "operator @?"),
    ("newer setting", "SET idle_in_transaction_session_timeout = '1s'", "SET idle_in_transaction"),
    # refused by Greenplum, or with another effect there
    ("prepare transaction", "PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
    ("serializable", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SERIALIZABLE"),
    ("reserved column", "SELECT partition FROM t", "partition: a reserved word"),
    ("reserved alias", "SELECT 1 FROM t AS log", "log: a reserved word"),
    (
        "reserved column of a table",
        "CREATE TABLE t (partition integer) WITH (columnar)",
        "partition: a reserved word",
    ),
    (
        "foreign key",
        "CREATE TABLE t (a text, FOREIGN KEY (a) REFERENCES s (a)) WITH (columnar)",
        "does not enforce",
    ),
    ("file on the server", "COPY t (a) FROM '/tmp/x'", "the server's files"),
    ("data-changing with", "WITH a AS (INSERT INTO t VALUES (1) RETURNING x) SELECT x FROM a", "untried"),
    # our rules
    ("update", "UPDATE t SET a = 1", "UPDATE locks the whole table"),
    ("delete", "DELETE FROM t", "DELETE locks the whole table"),
    ("select for update", "SELECT a FROM t FOR UPDATE", "locks the whole table"),
    ("select for share", "SELECT a FROM t FOR SHARE", "locks the whole table"),
    ("skip locked", "SELECT a FROM t FOR UPDATE SKIP LOCKED", "SKIP LOCKED"),
    ("truncate", "TRUNCATE t", "TRUNCATE"),
    ("vacuum", "VACUUM t", "VACUUM"),
    ("advisory lock", "SELECT pg_advisory_xact_lock(1)", "advisory locks"),
    ("second of two", "SELECT 1; UPDATE t SET a = 1", "UPDATE locks the whole table"),
    ("in a subquery", "SELECT 1 WHERE EXISTS (SELECT 1 FROM t FOR UPDATE)", "locks the whole table"),
    # storage
    ("no storage", "CREATE TABLE t (a text)", "ends with one storage variable"),
    ("other options", "CREATE TABLE t (a text) WITH (fillfactor = 10)", "ends with one storage variable"),
    ("create table as", "CREATE TABLE t AS SELECT 1 AS a", "then INSERT"),
    ("select into", "SELECT 1 AS a INTO t", "then INSERT"),
    ("key of a columnar table", "CREATE TABLE t (a text PRIMARY KEY) WITH (columnar)", "no PRIMARY KEY"),
    ("unique in a columnar table", "CREATE TABLE t (a text, UNIQUE (a)) WITH (columnar)", "no UNIQUE"),
    (
        "key without the distribution",
        "CREATE TABLE t (topic text, kafka_partition integer, PRIMARY KEY (kafka_partition)) "
        "WITH (heap_by_topic)",
        "lacks columns that it is distributed by",
    ),
    (
        "distribution by a missing column",
        "CREATE TABLE t (a text) WITH (heap_by_topic)",
        "lacks columns",
    ),
    (
        "numbered rows in a join",
        "WITH n AS (SELECT a, row_number() OVER (PARTITION BY a) AS place FROM t) "
        "SELECT 1 FROM s JOIN n ON n.a = s.a WHERE n.place = 1",
        "put them into a mart of their own",
    ),
    ("unlisted statement", "CREATE VIEW v AS SELECT 1 AS a", "tests/sql/known.py"),
]

ACCEPTED = [
    "SELECT b.c::uuid FROM t AS b WHERE a = ANY($1::uuid[]) AND c IS NOT NULL ORDER BY a DESC LIMIT 3",
    "SELECT count(DISTINCT a) FILTER (WHERE b > 1), coalesce(sum(c), 0) FROM t GROUP BY d HAVING max(a) > 1",
    "SELECT a || b FROM t WHERE a BETWEEN 1 AND 2 AND b LIKE 'x%' AND c NOT IN (1, 2)",
    "SELECT lag(a) OVER w, rank() OVER (PARTITION BY a ORDER BY b) FROM t WINDOW w AS (ORDER BY a)",
    "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t",
    "SELECT (a AT TIME ZONE 'UTC')::date AS day, extract(hour FROM a)::integer AS hour FROM t GROUP BY 1, 2",
    "WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT CASE x WHEN 1 THEN 'Да' ELSE 'Нет' END FROM a",
    "SELECT s.x FROM (VALUES (1, 'a')) AS s (x, y) CROSS JOIN LATERAL generate_series(1, s.x) AS g (n)",
    "SELECT a FROM t WHERE b = 'partition' AND NOT EXISTS (SELECT 1 FROM s WHERE s.a = t.a)",
    "SELECT a FROM (SELECT a, row_number() OVER (PARTITION BY a) AS place FROM t) AS n WHERE place = 1",
    "INSERT INTO t (a) VALUES ($1) RETURNING a",
    "COPY t (a, b) FROM STDIN WITH (FORMAT text, NULL '')",
    "LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
    "SET LOCAL lock_timeout = '30s'",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "DROP TABLE IF EXISTS t",
    "ALTER TABLE t RENAME TO s",
    "ALTER TABLE t ADD COLUMN a text COLLATE columnar_column",
    "ALTER TABLE t ADD COLUMN a text COLLATE heap_column",
    "CREATE TABLE IF NOT EXISTS t (a text NOT NULL, b timestamptz DEFAULT now()) WITH (columnar)",
    "CREATE TABLE t (topic text, kafka_partition integer, o bigint, PRIMARY KEY (topic, kafka_partition, o)) "
    "WITH (heap_by_topic)",
]


@pytest.mark.parametrize(
    ("statement", "message"),
    [pytest.param(statement, message, id=name) for name, statement, message in REFUSED],
)
def test_refused(statement: str, message: str) -> None:
    assert message in "\n".join(problems(statement, STORAGES))


@pytest.mark.parametrize("statement", ACCEPTED, ids=lambda statement: statement[:40])
def test_accepted(statement: str) -> None:
    assert problems(statement, STORAGES) == []


LOCKED = "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE; {} COMMIT"


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("DELETE FROM t WHERE a = 1", "EXCLUSIVE MODE comes before"),
        (
            "BEGIN; LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE; DELETE FROM t WHERE a = 1; COMMIT",
            "EXCLUSIVE MODE",
        ),
        (LOCKED.format("UPDATE s SET a = 1;"), "s: LOCK"),
        ("LOCK TABLE t IN EXCLUSIVE MODE; DELETE FROM t WHERE a = 1", "is one message"),
        (LOCKED.format("VACUUM t;"), "stand alone"),
        ("TRUNCATE t", "TRUNCATE"),
        ("WITH a AS (DELETE FROM t RETURNING x) SELECT x FROM a", "untried"),
    ],
)
def test_unsafe_statements_of_the_owner_are_refused(statements: str, message: str) -> None:
    assert message in "\n".join(problems(statements, STORAGES, is_owners=True))


@pytest.mark.parametrize(
    "statements",
    [
        LOCKED.format("DELETE FROM t WHERE a = 1; UPDATE t SET a = 2 WHERE a = 3;"),
        "VACUUM ANALYZE t",
        "ANALYZE t",
    ],
)
def test_safe_statements_of_the_owner_are_accepted(statements: str) -> None:
    assert problems(statements, STORAGES, is_owners=True) == []
    assert problems(statements, STORAGES) != []


def test_every_problem_of_a_statement_is_reported() -> None:
    statement = "UPDATE t SET partition = gen_random_uuid()"
    assert len(problems(statement, STORAGES)) == 3


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (
            "WITH (appendoptimized=true, orientation=column, compresstype=zstd) DISTRIBUTED RANDOMLY",
            STORAGES["columnar"],
        ),
        ("WITH (appendonly=false) DISTRIBUTED BY (topic)", STORAGES["heap_by_topic"]),
    ],
    ids=["columnar", "heap"],
)
def test_storage_clauses_are_read(clause: str, expected: Storage) -> None:
    assert storage(clause) == expected


@pytest.mark.parametrize(
    "clause",
    ["", "WITH (appendonly=false)", "DISTRIBUTED RANDOMLY", "WITH (orientation=column) DISTRIBUTED RANDOMLY"],
)
def test_a_clause_that_relies_on_the_servers_defaults_is_refused(clause: str) -> None:
    with pytest.raises(ValueError, match="DISTRIBUTED"):
        storage(clause)


def test_a_heap_without_a_distribution_key_has_no_primary_key() -> None:
    storages: Mapping[str, Storage] = {"heap": Storage(is_heap=True, distributed_by=())}
    assert problems("CREATE TABLE t (a text PRIMARY KEY) WITH (heap)", storages)


@pytest.mark.parametrize("name", REASONS)
def test_reasons_are_given_only_for_refused_features(name: str) -> None:
    field, _, value = name.partition("=")
    kind, _, attribute = field.partition(".")
    if value:
        assert value not in VALUES[field]
    elif attribute:
        assert attribute not in NODES[kind].split()
    else:
        assert kind not in NODES
