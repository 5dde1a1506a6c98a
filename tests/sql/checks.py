"""Checks that the lists of known.py cannot express, one per kind of node."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pglast import ast, enums

from .known import COPY_OPTIONS, FUNCTIONS, OPERATORS, RESERVED, SETTINGS, TYPES

UNLISTED = "not in tests/sql/known.py, the list of what PostgreSQL 9.4 is known to have"

_LATE_FRAMES = (
    enums.FRAMEOPTION_GROUPS
    | enums.FRAMEOPTION_EXCLUDE_CURRENT_ROW
    | enums.FRAMEOPTION_EXCLUDE_GROUP
    | enums.FRAMEOPTION_EXCLUDE_TIES
)
_OFFSET_FRAMES = (
    enums.FRAMEOPTION_START_OFFSET_PRECEDING
    | enums.FRAMEOPTION_START_OFFSET_FOLLOWING
    | enums.FRAMEOPTION_END_OFFSET_PRECEDING
    | enums.FRAMEOPTION_END_OFFSET_FOLLOWING
)


def _function(call: ast.FuncCall) -> Iterator[str]:
    name = _last(call.funcname)
    counts, _ = FUNCTIONS.get(name, (set(), ""))
    count = len(call.args or ())
    if "advisory" in name:
        yield f"{name}(): advisory locks are no fence, a zombie may hold one"
    elif name not in FUNCTIONS:
        yield f"{name}(): {UNLISTED}"
    elif count not in counts:
        yield f"{name}() with {count} arguments: {UNLISTED}"


def _type(type_name: ast.TypeName) -> Iterator[str]:
    name = _last(type_name.names)
    if name not in TYPES:
        yield f"type {name}: {UNLISTED}"


def _operator(expression: ast.A_Expr) -> Iterator[str]:
    name = _last(expression.name)
    if name not in OPERATORS:
        yield f"operator {name}: {UNLISTED}"


def _setting(statement: ast.VariableSetStmt) -> Iterator[str]:
    if statement.name not in SETTINGS:
        yield f"SET {statement.name}: {UNLISTED}"
    for option in statement.args or ():
        if isinstance(option, ast.DefElem) and "serializable" in repr(option.arg):
            yield "SERIALIZABLE: Greenplum silently makes it REPEATABLE READ"


def _copy(statement: ast.CopyStmt) -> Iterator[str]:
    for option in statement.options or ():
        if option.defname not in COPY_OPTIONS:
            yield f"COPY option {option.defname}: {UNLISTED}"
    if statement.query and not isinstance(statement.query, ast.SelectStmt):
        yield "COPY of what a statement returns came with PostgreSQL 9.6"
    if statement.filename or statement.is_program:
        yield "COPY from or to the server's files is for superusers"


def _insert(statement: ast.InsertStmt) -> Iterator[str]:
    if statement.relation and statement.relation.alias:
        yield "INSERT INTO … AS came with PostgreSQL 9.5"


def _subselect(subselect: ast.RangeSubselect) -> Iterator[str]:
    if not subselect.alias:
        yield "a subquery in FROM needs an alias before PostgreSQL 16"


def _common_table(table: ast.CommonTableExpr) -> Iterator[str]:
    if not isinstance(table.ctequery, ast.SelectStmt):
        yield "a statement in WITH that changes data is untried on Greenplum"


def _window(window: ast.WindowDef) -> Iterator[str]:
    options = window.frameOptions or 0
    if options & _LATE_FRAMES:
        yield "window frames with GROUPS or EXCLUDE came with PostgreSQL 11"
    if options & enums.FRAMEOPTION_RANGE and options & _OFFSET_FRAMES:
        yield "window frames with RANGE and an offset came with PostgreSQL 11"


def _last(names: tuple[Any, ...] | None) -> str:
    """Return the last part of a qualified name."""
    return str(names[-1].sval) if names else ""


def _names(*fields: str) -> Callable[[ast.Node], Iterator[str]]:
    """Return a check that no name in these fields is reserved in Greenplum 6."""

    def check(node: ast.Node) -> Iterator[str]:
        for value in (getattr(node, field) for field in fields):
            names = (getattr(item, "sval", "") for item in value) if isinstance(value, tuple) else (value,)
            yield from (f"{name}: a reserved word in Greenplum 6" for name in names if name in RESERVED)

    return check


def _all(*checks: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterator[str]]:
    return lambda node: (problem for check in checks for problem in check(node))


CHECKS: dict[str, Callable[[Any], Iterable[str]]] = {
    "A_Expr": _operator,
    "Alias": _names("aliasname", "colnames"),
    "ColumnDef": _names("colname"),
    "ColumnRef": _names("fields"),
    "CommonTableExpr": _all(_names("ctename", "aliascolnames"), _common_table),
    "CopyStmt": _all(_names("attlist"), _copy),
    "FuncCall": _function,
    "InsertStmt": _insert,
    "RangeSubselect": _subselect,
    "RangeVar": _names("relname"),
    "ResTarget": _names("name"),
    "TypeName": _type,
    "VariableSetStmt": _setting,
    "WindowDef": _all(_names("name"), _window),
}
