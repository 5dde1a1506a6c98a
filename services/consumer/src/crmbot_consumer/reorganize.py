"""Repacks what small commits have fragmented: the table is rewritten, and locked meanwhile."""

from psycopg import sql

from crmbot_core.warehouse import Connection, is_greenplum

# By whether the warehouse is Greenplum, whose VACUUM does not repack append-optimized tables.
_REWRITE = {True: "ALTER TABLE {} SET WITH (REORGANIZE=true)", False: "VACUUM FULL {}"}


def reorganize(connection: Connection, table: str) -> None:
    """Rewrite a table, as its owner; loads and readers wait until that is done."""
    connection.execute(sql.SQL(_REWRITE[is_greenplum(connection)]).format(sql.Identifier(table)))
