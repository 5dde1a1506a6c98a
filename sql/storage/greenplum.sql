-- Storage clauses for Greenplum 6/7, Greengage and Cloudberry.
\set columnar 'WITH (appendoptimized=true, orientation=column, compresstype=zstd, compresslevel=1) DISTRIBUTED RANDOMLY'
\set columnar_by_lead 'WITH (appendoptimized=true, orientation=column, compresstype=zstd, compresslevel=1) DISTRIBUTED BY (lead_id)'
\set columnar_by_order 'WITH (appendoptimized=true, orientation=column, compresstype=zstd, compresslevel=1) DISTRIBUTED BY (order_id)'
\set heap_by_topic 'WITH (appendonly=false) DISTRIBUTED BY (topic)'
\set heap_by_name 'WITH (appendonly=false) DISTRIBUTED BY (name)'
-- Of columns that are added later: ALTER TABLE … ADD COLUMN name type :columnar_column. Without ENCODING they are not compressed.
\set columnar_column 'ENCODING (compresstype=zstd, compresslevel=1)'
\set heap_column ''
