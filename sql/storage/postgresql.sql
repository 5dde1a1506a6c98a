-- Storage clauses for PostgreSQL: none.
\set columnar ''
\set heap_by_topic ''
\set heap_by_name ''
