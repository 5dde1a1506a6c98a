r"""Finds every SQL statement of the project: the files of `sql/`, and the literals in the services' code.

In Python a statement is a string literal that
* begins with an SQL verb in capitals (a clause such as `WHERE …` counts too), or
* is passed to `execute`, `executemany` or `sql.SQL`, directly or as (part of) a constant of the module.

Partial statements are completed. Docstrings are skipped, and so is SQL for SQLite: in modules that import
sqlite3, in the package `adopt`, and in functions and classes with sqlite in their name.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from crmbot_core import psql

from .guard import COLUMN_VARIABLES

ROOT = Path(__file__).parents[2]
STORAGE = ("greenplum", "postgresql")
# Any values will do: psql and the services set others.
VARIABLES = {"mrf": "mrf1", "build": "mrf1_1", "timezone": "Europe/Moscow", "day": "2026-03-31", "run": ""}

_VERB = re.compile(
    r"\s*(SELECT|INSERT|COPY|LOCK|CREATE|SET|WITH|DROP|ALTER|TRUNCATE|UPDATE|DELETE|MERGE|DECLARE|FETCH|BEGIN|"
    r"VACUUM|ANALYZE|GRANT|REVOKE|CALL|DO|PREPARE|EXPLAIN|SHOW|RESET|VALUES|TABLE|COMMENT|REINDEX|REFRESH)\s"
)
_CLAUSE = re.compile(r"\s*(FROM|WHERE|GROUP BY|HAVING|ORDER BY|LIMIT|OFFSET|FOR|LEFT JOIN|JOIN)\s")
_PLACEHOLDER = re.compile(r"\{\w*\}")
_PARAMETER = re.compile(r"%s|%b|%t|%\(\w+\)[sbt]")
_RUNS = {"execute", "executemany", "SQL"}


class Statement(NamedTuple):
    """One statement at path:line, or a whole file at its path."""

    place: str
    text: str


def storage_clauses(name: str) -> dict[str, str]:
    """Return the storage clauses in sql/storage/<name>.sql by variable; `…_column` are those of columns."""
    return psql.variables(ROOT / "sql" / "storage" / f"{name}.sql")


def sql_files() -> list[Statement]:
    """Return the files of `sql/`, with clauses that PostgreSQL's parser accepts for storage variables.

    These are `WITH (<name>)` for a variable of a table, and `COLLATE <name>` for one of a column.
    """
    clauses = {
        name: f"COLLATE {name}" if name in COLUMN_VARIABLES else f"WITH ({name})"
        for name in storage_clauses("postgresql")
    }
    return [
        Statement(str(path.relative_to(ROOT)), psql.script(path, clauses | VARIABLES))
        for path in sorted((ROOT / "sql").rglob("*.sql"))
        if path.parent.name != "storage"
    ]


def python_files() -> list[Path]:
    """Return the modules that may contain SQL for the warehouse."""
    paths = [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    return sorted(path for path in paths if not _is_for_sqlite(path))


def _is_for_sqlite(path: Path) -> bool:
    return path.parent.name == "adopt" or "\nimport sqlite3\n" in path.read_text(encoding="utf-8")


def python_statements() -> list[Statement]:
    """Return the statements of all modules."""
    return [
        Statement(f"{path.relative_to(ROOT)}:{line}", text)
        for path in python_files()
        for line, text in in_module(path.read_text(encoding="utf-8"))
    ]


def in_module(source: str) -> list[tuple[int, str]]:
    """Return (line, statement) of each statement in a module's source, in order."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    run = {id(text) for argument in _arguments(tree) for text in _literals_given(argument, constants)}
    found = {
        (literal.lineno, _completed(_text(literal)))
        for literal in _literals(tree)
        if id(literal) in run or _VERB.match(_text(literal)) or _CLAUSE.match(_text(literal))
    }
    return sorted((line, text) for line, text in found if text)


def _arguments(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the first argument of every call that takes SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS:
            yield from node.args[:1]


def _literals_given(argument: ast.expr, constants: Mapping[str, ast.expr]) -> Iterator[ast.expr]:
    """Yield the literals in an argument and in the module's constants that it names."""
    named = [constants[n.id] for n in ast.walk(argument) if isinstance(n, ast.Name) and n.id in constants]
    # Literals inside another call belong to that call: `execute(psql.script(path, values).encode())`.
    own = [] if isinstance(argument, ast.Call) else [argument]
    for expression in own + named:
        yield from _literals(expression, is_value=True)


def _literals(node: ast.AST, *, is_value: bool = False) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield string literals below a node; of a dict in an SQL argument (`is_value`), only the values."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and "sqlite" in node.name:
        return
    if isinstance(node, ast.Dict) and is_value:
        children: list[ast.AST] = list(node.values)
    elif isinstance(node, ast.Subscript) and is_value:
        children = [node.value]
    else:
        children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        children.remove(node.body[0])
    for child in children:
        yield from _literals(child, is_value=is_value)


def _text(literal: ast.expr) -> str:
    """Return a literal's text; expressions in an f-string become placeholders like those of `format`."""
    if isinstance(literal, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else " {} " for part in literal.values)
    assert isinstance(literal, ast.Constant)
    return str(literal.value)


def _completed(text: str) -> str:
    """Complete a text to a statement that can be parsed; empty for text without SQL, such as a comma."""
    if not re.search(r"\w", _PLACEHOLDER.sub("", text)):
        return ""
    filled = _PARAMETER.sub("$1", _PLACEHOLDER.sub("placeholder", text))
    if _VERB.match(text.upper()):
        return filled
    if not _CLAUSE.match(text.upper()):
        return f"SELECT {filled}"
    begins_with_from = text.upper().split(maxsplit=1)[0] == "FROM"
    return f"SELECT * {'' if begins_with_from else 'FROM placeholder '}{filled}"
