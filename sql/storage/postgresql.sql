-- Storage clauses for PostgreSQL: none.
\set columnar ''
\set columnar_by_lead ''
\set columnar_by_order ''
\set heap_by_topic ''
\set heap_by_name ''
\set columnar_column ''
\set heap_column ''
