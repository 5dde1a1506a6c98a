"""Rules for statements of a table's owner, who may run more kinds of them than other roles.

`crmbot-consumer maintain` runs as the owner of the pipeline's tables; the exporter owns the marts. PostgreSQL
would accept the statements that these rules refuse.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pglast import ast
from pglast.enums import TransactionStmtKind as _Kind

MODULES = {
    "services/consumer/src/crmbot_consumer/fold.py",
    "services/consumer/src/crmbot_consumer/maintain.py",
    "services/consumer/src/crmbot_consumer/reorganize.py",
    "services/exporter/src/crmbot_exporter/marts.py",
}

# In addition to known.NODES.
NODES = {
    "DeleteStmt": "relation whereClause",
    "UpdateStmt": "relation targetList whereClause",
    "TransactionStmt": "kind options",
    "VacuumStmt": "options rels is_vacuumcmd",
    "VacuumRelation": "relation",
}

# Greenplum's own grammar, which the parser does not support, with a version that accepted it.
GREENPLUM_ONLY = {"ALTER TABLE placeholder SET WITH (REORGANIZE=true)": "Greenplum 6.24.3"}

_EXCLUSIVE = 7  # in lockdefs.h
_CHANGES = (ast.DeleteStmt, ast.UpdateStmt)


def problems(statements: Sequence[ast.RawStmt]) -> Iterator[str]:
    """Yield the problems of the owner's statements, which are sent as one message."""
    parsed: list[Any] = [statement.stmt for statement in statements]
    locked: set[str] = set()
    for statement in parsed:
        if isinstance(statement, ast.LockStmt) and statement.mode == _EXCLUSIVE:
            locked.update(_name(table) for table in statement.relations or ())
        if isinstance(statement, _CHANGES) and _name(statement.relation) not in locked:
            # Greenplum's DELETE and UPDATE take this lock; an upgrade to it in mid-transaction deadlocks.
            yield f"{_name(statement.relation)}: LOCK … IN EXCLUSIVE MODE comes before DELETE and UPDATE"
        if isinstance(statement, ast.VacuumStmt) and len(parsed) > 1:
            yield "VACUUM and ANALYZE stand alone"
    if locked and not (_is(parsed[0], _Kind.TRANS_STMT_BEGIN) and _is(parsed[-1], _Kind.TRANS_STMT_COMMIT)):
        # Greenplum 6 has no idle_in_transaction_session_timeout.
        yield "what locks is one message from BEGIN to COMMIT: a client may vanish between two"


def _name(table: Any) -> str:  # noqa: ANN401  (a node of pglast)
    return str(table.relname)


def _is(statement: Any, kind: _Kind) -> bool:  # noqa: ANN401  (a node of pglast)
    return isinstance(statement, ast.TransactionStmt) and statement.kind == kind
