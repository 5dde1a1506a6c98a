"""Repacks tables that small commits have fragmented, by rewriting them under a lock."""

from psycopg import sql

from crmbot_core.warehouse import Connection, is_greenplum

# By `is_greenplum`: Greenplum's VACUUM does not repack append-optimized tables.
_REWRITE = {True: "ALTER TABLE {} SET WITH (REORGANIZE=true)", False: "VACUUM FULL {}"}


def reorganize(connection: Connection, table: str) -> None:
    """Rewrite a table, as its owner; blocks loads and readers meanwhile."""
    connection.execute(sql.SQL(_REWRITE[is_greenplum(connection)]).format(sql.Identifier(table)))
