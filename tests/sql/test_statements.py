"""SQL is found wherever it may be in Python code."""

import pytest

from .statements import in_module


def found(source: str) -> list[str]:
    return [text for _, text in in_module(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('_Q = "SELECT 1 FROM t"', ["SELECT 1 FROM t"], id="constant"),
        pytest.param('_Q = """\n    SELECT 1\n"""', ["\n    SELECT 1\n"], id="on several lines"),
        pytest.param('def f():\n    return "DELETE FROM t"', ["DELETE FROM t"], id="in a function"),
        pytest.param('c.execute("select 1")', ["select 1"], id="in lower case, passed to execute"),
        pytest.param('_Q = "select 1"\nc.execute(_Q, (1,))', ["select 1"], id="a constant passed to execute"),
        pytest.param('sql.SQL("a.{}::text")', ["SELECT a.placeholder::text"], id="part of a statement"),
        pytest.param(
            '_P = {"x": "{c}::text"}\nsql.SQL(_P[k])', ["SELECT placeholder::text"], id="part in a dict"
        ),
        pytest.param('sql.SQL(", ").join(x)', [], id="separator"),
        pytest.param('f" ORDER BY {x}"', ["SELECT * FROM placeholder  ORDER BY  placeholder "], id="clause"),
        pytest.param('f"SELECT {a} FROM {{}}"', ["SELECT  placeholder  FROM placeholder"], id="f-string"),
        pytest.param('f("SELECT %s, %(a)s, %b")', ["SELECT $1, $1, $1"], id="parameters"),
        pytest.param(
            'sql.SQL("SELECT {a}" + " FROM t")', ["SELECT *  FROM t", "SELECT placeholder"], id="sum"
        ),
        pytest.param('def f():\n    """SELECT is a word."""', [], id="docstring"),
        pytest.param('class A:\n    def sqlite_ddl(self):\n        return "CREATE TABLE t"', [], id="SQLite"),
        pytest.param('print("Select one, or SET the variable")', [], id="prose"),
    ],
)
def test_found(source: str, expected: list[str]) -> None:
    assert sorted(found(source)) == sorted(expected)


def test_the_line_is_that_of_the_literal() -> None:
    assert in_module('import x\n\nx.execute(\n    "SELECT 1"\n)') == [(4, "SELECT 1")]
