"""Allowlists for the warehouse's SQL: everything on them exists in PostgreSQL 9.4, the base of Greenplum 6.

The tests' parser is PostgreSQL 18's; anything else in its grammar is refused. To use something new, look it
up in the documentation of PostgreSQL 9.4 and of Greenplum 6, then add it here.
"""

# Kinds of nodes in the parse tree, and the fields allowed in each.
NODES = {
    # statements
    "RawStmt": "stmt",
    "SelectStmt": "distinctClause targetList fromClause whereClause groupClause havingClause windowClause "
    "valuesLists sortClause limitOffset limitCount limitOption withClause op all larg rarg",
    "InsertStmt": "relation cols selectStmt withClause returningClause",
    "CopyStmt": "relation query attlist is_from options",
    "LockStmt": "relations mode",
    "VariableSetStmt": "kind name args is_local jumble_args",
    "CreateStmt": "relation tableElts options if_not_exists",
    "AlterTableStmt": "relation cmds objtype",
    "IndexStmt": "idxname relation accessMethod indexParams whereClause",
    "DropStmt": "objects removeType missing_ok",
    "RenameStmt": "renameType relation newname relationType",
    # their parts
    "A_Star": "",
    "Alias": "aliasname colnames",
    "AlterTableCmd": "subtype def_ behavior",
    "CollateClause": "collname",
    "ColumnDef": "colname typeName is_local constraints collClause",
    "CommonTableExpr": "ctename aliascolnames ctequery",
    "Constraint": "contype conname keys raw_expr is_enforced initially_valid",
    "DefElem": "defname arg",
    "IndexElem": "name expr ordering nulls_ordering",
    "JoinExpr": "jointype larg rarg quals usingClause alias",
    "RangeFunction": "lateral ordinality functions alias",
    "RangeSubselect": "lateral subquery alias",
    "RangeVar": "schemaname relname inh relpersistence alias",
    "ResTarget": "name val",
    "ReturningClause": "exprs",
    "SortBy": "node sortby_dir sortby_nulls",
    "TypeName": "names typmods typemod arrayBounds",
    "WindowDef": "name refname partitionClause orderClause frameOptions startOffset endOffset",
    "WithClause": "ctes",
    # expressions
    "A_ArrayExpr": "elements list_start list_end",
    "A_Const": "val isnull",
    "A_Expr": "kind name lexpr rexpr rexpr_list_start rexpr_list_end",
    "BoolExpr": "boolop args",
    "CaseExpr": "arg args defresult",
    "CaseWhen": "expr result",
    "CoalesceExpr": "args",
    "ColumnRef": "fields",
    "FuncCall": "funcname args agg_order agg_filter agg_star agg_distinct agg_within_group over funcformat",
    "MinMaxExpr": "op args",
    "NullTest": "arg nulltesttype",
    "ParamRef": "number",
    "SubLink": "subLinkType testexpr operName subselect",
    "TypeCast": "arg typeName",
    "Boolean": "boolval",
    "Float": "fval",
    "Integer": "ival",
    "String": "sval",
}

# Fields with only some values allowed. Empty values need not be listed.
VALUES = {
    "AlterTableCmd.subtype": {"AT_AddColumn"},
    "AlterTableStmt.objtype": {"OBJECT_TABLE"},
    "Constraint.contype": {"CONSTR_NOTNULL", "CONSTR_DEFAULT", "CONSTR_PRIMARY", "CONSTR_UNIQUE"},
    "DropStmt.removeType": {"OBJECT_TABLE"},
    "RangeVar.relpersistence": {"p"},
    "RenameStmt.renameType": {"OBJECT_TABLE", "OBJECT_COLUMN"},
    "RenameStmt.relationType": {"OBJECT_TABLE"},
    "SelectStmt.limitOption": {"LIMIT_OPTION_COUNT"},
    "TransactionStmt.kind": {"TRANS_STMT_BEGIN", "TRANS_STMT_COMMIT"},
    "VariableSetStmt.kind": {"VAR_SET_MULTI"},
}

# Functions: allowed numbers of arguments, and the first version. `*` and the ORDER BY in WITHIN GROUP are not
# arguments.
FUNCTIONS = {
    "chr": ({1}, "PostgreSQL 7"),
    "concat_ws": ({2}, "PostgreSQL 9.1; takes any types"),
    "count": ({0, 1}, "PostgreSQL 7"),
    "date_trunc": ({2}, "PostgreSQL 7; for timestamp only: with timestamptz the session's time zone matters"),
    "extract": ({2}, "SQL-92; returns double precision in 9.4 and numeric since 14, so cast the result"),
    "generate_series": (
        {2, 3},
        "PostgreSQL 8.0, timestamps 8.4; for numeric only since 9.5",
    ),
    "lag": ({1, 2, 3}, "PostgreSQL 8.4; the default's type must be the value's own, so cast it"),
    "max": ({1}, "PostgreSQL 7"),
    "md5": ({1}, "PostgreSQL 7.4; for text and bytea"),
    "min": ({1}, "PostgreSQL 7; not for uuid"),
    "now": ({0}, "PostgreSQL 7"),
    "pg_has_role": ({2}, "PostgreSQL 8.1; for the current role"),
    "percentile_cont": ({1}, "PostgreSQL 9.4, ordered-set aggregate; Greenplum had it before"),
    "pg_terminate_backend": ({1}, "PostgreSQL 8.4; for sessions of one's own role, also on Greenplum 6"),
    "rank": ({0}, "PostgreSQL 8.4"),
    "replace": ({3}, "PostgreSQL 7.3"),
    "row_number": ({0}, "PostgreSQL 8.4"),
    "sum": ({1}, "PostgreSQL 7"),
    "timezone": ({2}, "PostgreSQL 7: AT TIME ZONE"),
    "to_char": ({2}, "PostgreSQL 7; so are MS, US, HH24 and quoted text"),
    "unnest": ({1}, "PostgreSQL 8.4; of one array, in a SELECT list"),
}

# To the parser, LIKE is ~~ and BETWEEN is an operator.
OPERATORS = {"=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "||", "~~", "!~~", "BETWEEN"}
TYPES = {
    "bool",
    "bytea",
    "date",
    "float8",
    "int4",
    "int8",
    "interval",
    "json",
    "numeric",
    "regclass",
    "text",
    "timestamp",
    "timestamptz",
    "uuid",
}
COPY_OPTIONS = {"format", "null", "delimiter", "header", "quote", "escape", "encoding"}

# Server settings that a session may set. Greenplum accepts work_mem, but uses statement_mem.
SETTINGS = {"lock_timeout", "timezone", "work_mem", "statement_timeout", "TRANSACTION"}

# Not reserved in PostgreSQL 18, but in Greenplum 6's kwlist.h.
RESERVED = {
    "decode",
    "distributed",
    "exclude",
    "following",
    "log",
    "partition",
    "preceding",
    "scatter",
    "unbounded",
}

# Reasons why something that one may want to use is not on the lists above.
REASONS = {
    # PostgreSQL after 9.4, which Greenplum 6 does not parse
    "InsertStmt.onConflictClause": "ON CONFLICT came with PostgreSQL 9.5, and needs a unique index",
    "InsertStmt.override": "identity columns came with PostgreSQL 10",
    "MergeStmt": "MERGE came with PostgreSQL 15",
    "SelectStmt.groupDistinct": "GROUP BY DISTINCT came with PostgreSQL 14",
    "SelectStmt.limitOption=LIMIT_OPTION_WITH_TIES": "WITH TIES came with PostgreSQL 13",
    "GroupingSet": "GROUPING SETS, CUBE and ROLLUP came with PostgreSQL 9.5",
    "GroupingFunc": "GROUPING came with PostgreSQL 9.5",
    "Constraint.contype=CONSTR_IDENTITY": "IDENTITY columns came with PostgreSQL 10",
    "Constraint.contype=CONSTR_GENERATED": "GENERATED columns came with PostgreSQL 12",
    "Constraint.nulls_not_distinct": "NULLS NOT DISTINCT came with PostgreSQL 15",
    "AlterTableCmd.missing_ok": "ADD COLUMN IF NOT EXISTS came with PostgreSQL 9.6",
    "IndexStmt.if_not_exists": "CREATE INDEX IF NOT EXISTS came with PostgreSQL 9.5",
    "IndexStmt.indexIncludingParams": "INCLUDE came with PostgreSQL 11",
    "RangeTableSample": "TABLESAMPLE came with PostgreSQL 9.5",
    "CreatePolicyStmt": "row-level security came with PostgreSQL 9.5",
    "AlterTableCmd.subtype=AT_EnableRowSecurity": "row-level security came with PostgreSQL 9.5",
    "ReturningClause.options": "RETURNING OLD and NEW came with PostgreSQL 18",
    "CreateStmt.partspec": "declarative partitions came with PostgreSQL 10; Greenplum 6 has its own syntax",
    "CreateStmt.partbound": "declarative partitions came with PostgreSQL 10; Greenplum 6 has its own syntax",
    "CommonTableExpr.ctematerialized": "AS MATERIALIZED came with PostgreSQL 12",
    "CommonTableExpr.search_clause": "SEARCH came with PostgreSQL 14",
    "CommonTableExpr.cycle_clause": "CYCLE came with PostgreSQL 14",
    "JsonTable": "JSON_TABLE came with PostgreSQL 17",
    "JsonFuncExpr": "SQL/JSON functions came with PostgreSQL 17",
    "JsonIsPredicate": "IS JSON came with PostgreSQL 16",
    "JsonObjectConstructor": "SQL/JSON constructors came with PostgreSQL 16",
    "JsonArrayConstructor": "SQL/JSON constructors came with PostgreSQL 16",
    "JsonArrayQueryConstructor": "SQL/JSON constructors came with PostgreSQL 16",
    "CallStmt": "procedures came with PostgreSQL 11",
    "CopyStmt.whereClause": "COPY … WHERE came with PostgreSQL 12",
    "JoinExpr.join_using_alias": "JOIN … USING … AS came with PostgreSQL 14",
    # Greenplum
    "Constraint.contype=CONSTR_FOREIGN": "Greenplum does not enforce foreign keys",
    "Constraint.contype=CONSTR_CHECK": "the contract is checked before the warehouse",
    "TransactionStmt.kind=TRANS_STMT_PREPARE": "Greenplum has no PREPARE TRANSACTION",
    "WithClause.recursive": "untried on Greenplum",
    # our own rules
    "TransactionStmt": "the driver opens and ends transactions; Greenplum has no PREPARE TRANSACTION",
    "UpdateStmt": "UPDATE locks the whole table on Greenplum: insert a row instead",
    "DeleteStmt": "DELETE locks the whole table on Greenplum: insert a row instead",
    "SelectStmt.lockingClause": "SELECT FOR UPDATE or SHARE locks the whole table on Greenplum; SKIP LOCKED "
    "came with PostgreSQL 9.5",
    "TruncateStmt": "TRUNCATE empties the table for readers of older snapshots too: make another table",
    "VacuumStmt": "VACUUM and ANALYZE are the warehouse owner's, not the loading path's",
    "CreateTableAsStmt": "say CREATE TABLE with columns and a storage variable, then INSERT",
    "SelectStmt.intoClause": "say CREATE TABLE with columns and a storage variable, then INSERT",
}
