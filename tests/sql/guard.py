"""The guard: reports SQL that would fail, or do harm, on Greenplum 6. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from pglast import ast, keywords, parse_sql
from pglast.parser import ParseError, scan

from . import owner
from .checks import CHECKS, UNLISTED
from .known import NODES, REASONS, VALUES

# Storage variables of columns that are added to a table.
COLUMN_VARIABLES = ("columnar_column", "heap_column")
_LOCATION_FIELDS = {"location", "stmt_location", "stmt_len", "list_start", "list_end", "arg_location"}
_KEY_CONSTRAINTS = {"CONSTR_PRIMARY", "CONSTR_UNIQUE"}
_KEYWORDS = (
    keywords.RESERVED_KEYWORDS
    | keywords.UNRESERVED_KEYWORDS
    | keywords.COL_NAME_KEYWORDS
    | keywords.TYPE_FUNC_NAME_KEYWORDS
)


class Storage(NamedTuple):
    """A parsed storage clause: heap or append-optimised table, and the distribution key.

    `distributed_by` is empty for DISTRIBUTED RANDOMLY.
    """

    is_heap: bool
    distributed_by: tuple[str, ...]


def storage(clause: str) -> Storage:
    """Parse a Greenplum storage clause.

    Raises:
        ValueError: the clause leaves the kind of table or the distribution to the server's defaults.
    """
    match = re.fullmatch(r"WITH \((.*?)\) DISTRIBUTED (?:RANDOMLY|BY \(([\w, ]+)\))", clause)
    options = set(match[1].split(", ")) if match else set()
    if match is None or not {"appendonly=false", "appendoptimized=true"} & options:
        raise ValueError(
            f"{clause!r} lacks WITH (appendonly=false or appendoptimized=true, …) or DISTRIBUTED …"
        )
    return Storage("appendonly=false" in options, tuple(match[2].split(", ")) if match[2] else ())


def problems(text: str, storages: Mapping[str, Storage], *, is_owners: bool = False) -> list[str]:
    """Return the problems of one or more SQL statements.

    Args:
        text: the statements, with `WITH (columnar)` for `:columnar` in the files of `sql/`, and
            `COLLATE columnar_column` for `:columnar_column`.
        storages: storage clauses by variable.
        is_owners: whether the tables' owner runs them, see `owner`.
    """
    if is_owners and text in owner.GREENPLUM_ONLY:
        return []
    nodes = NODES | owner.NODES if is_owners else NODES
    try:
        statements = parse_sql(text)
    except ParseError as error:
        return [f"does not parse: {error.args[0]}"]
    found = [*_newer_numbers(text)]
    if is_owners:
        found += owner.problems(statements)
    all_nodes = [node for statement in statements for node in _nodes(statement)]
    numbered = {n.name for n in all_nodes if isinstance(n, ast.ResTarget) and getattr(n.val, "over", None)}
    for node in all_nodes:
        found += _unlisted(node, nodes)
        if type(node).__name__ in CHECKS:
            found += CHECKS[type(node).__name__](node)
        if isinstance(node, ast.CreateStmt):
            found += _table(node, storages)
        if isinstance(node, ast.AlterTableStmt):
            found += _added_columns(node)
        if isinstance(node, ast.SelectStmt):
            found += _labels_without_as(node, text)
            found += _row_numbers_in_a_join(node, numbered)
    return list(dict.fromkeys(found))


def _row_numbers_in_a_join(select: ast.SelectStmt, numbered: Collection[str | None]) -> Iterator[str]:
    """For row numbers, a planner estimates that `= 1` selects one row in 200, and broadcasts the result."""
    if len(select.fromClause or ()) < 2 and not any(
        isinstance(t, ast.JoinExpr) for t in select.fromClause or ()
    ):
        return
    for node in _nodes_in(select.whereClause):
        if isinstance(node, ast.A_Expr) and isinstance(node.lexpr, ast.ColumnRef):
            name = getattr((node.lexpr.fields or ("",))[-1], "sval", "")
            if name in numbered and isinstance(node.rexpr, ast.A_Const):
                yield f"{name}: picks numbered rows in a join; put them into a mart of their own first"


def _nodes(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for field in node:
        yield from _nodes_in(getattr(node, field))


def _nodes_in(value: object) -> Iterator[ast.Node]:
    if isinstance(value, ast.Node):
        yield from _nodes(value)
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)


def _unlisted(node: ast.Node, nodes: Mapping[str, str]) -> Iterator[str]:
    """Report a node's kind, fields and values of fields that are not on the lists."""
    kind = type(node).__name__
    if kind not in nodes:
        yield f"{kind}: {REASONS.get(kind, UNLISTED)}"
        return
    for field in node:
        value = getattr(node, field)
        if field in _LOCATION_FIELDS or not value or value == "\0":
            continue
        name = f"{kind}.{field}"
        if field not in nodes[kind].split():
            yield f"{name}: {REASONS.get(name, UNLISTED)}"
        shown = value.name if isinstance(value, Enum) else value
        if name in VALUES and shown not in VALUES[name]:
            yield f"{name}={shown}: {REASONS.get(f'{name}={shown}', UNLISTED)}"


def _table(table: ast.CreateStmt, storages: Mapping[str, Storage]) -> Iterator[str]:
    """Check that a table has a storage clause, and that its keys are possible with it."""
    name = table.relation.relname if table.relation else ""
    named = [option.defname for option in table.options or ()]
    if len(named) != 1 or named[0] not in storages:
        yield f"table {name}: ends with one storage variable: {', '.join(f':{known}' for known in storages)}"
        return
    stored = storages[named[0]]
    columns = {column.colname for column in table.tableElts or () if isinstance(column, ast.ColumnDef)}
    if not set(stored.distributed_by) <= columns:
        yield f"table {name}: lacks columns that it is distributed by, {stored.distributed_by}"
    for key in _keys(table.tableElts or ()):
        if not stored.is_heap:
            yield f"table {name}: append-optimised tables have no UNIQUE and no PRIMARY KEY; use :heap_by_…"
        elif not stored.distributed_by or not set(stored.distributed_by) <= key:
            yield f"table {name}: its key lacks columns that it is distributed by, {stored.distributed_by}"


def _added_columns(alter: ast.AlterTableStmt) -> Iterator[str]:
    """An added column needs its own storage clause: it does not inherit the table's compression."""
    for command in alter.cmds or ():
        if not isinstance(command.def_, ast.ColumnDef):
            continue
        collation = command.def_.collClause
        names = [name.sval for name in collation.collname or ()] if collation else []
        if len(names) != 1 or names[0] not in COLUMN_VARIABLES:
            yield f"column {command.def_.colname}: ends with :columnar_column, or :heap_column on a heap"


def _keys(elements: Iterable[ast.Node]) -> Iterator[set[str]]:
    """Yield the columns of each PRIMARY KEY and UNIQUE constraint of a table."""
    for element in elements:
        if isinstance(element, ast.ColumnDef):
            if any(_is_key(constraint) for constraint in element.constraints or ()):
                yield {str(element.colname)}
        elif isinstance(element, ast.Constraint) and _is_key(element):
            yield {key.sval for key in element.keys or ()}


def _is_key(constraint: ast.Constraint) -> bool:
    return constraint.contype is not None and constraint.contype.name in _KEY_CONSTRAINTS


def _newer_numbers(text: str) -> Iterator[str]:
    """Check numbers in the tokens, because the parse tree does not show how they were written."""
    for token in scan(text):
        number = text[token.start : token.end + 1]
        if token.name in ("ICONST", "FCONST") and not re.fullmatch(r"[\d.]+(e[+-]?\d+)?", number.lower()):
            yield f"{number}: numbers in other bases or with underscores came with PostgreSQL 16"


def _labels_without_as(select: ast.SelectStmt, text: str) -> Iterator[str]:
    """A column label that is a keyword, such as action, needs AS before PostgreSQL 14."""
    for label in (target.name for target in select.targetList or ()):
        if label in _KEYWORDS and not re.search(rf'\bAS\s+"?{label}\b', text, re.IGNORECASE):
            yield f"{label}: a keyword as a column's label needs AS before PostgreSQL 14"
