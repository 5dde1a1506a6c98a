"""The reader of `sql/` agrees with psql."""

from pathlib import Path

import pytest

from crmbot_core import psql
from crmbot_core.errors import ConfigurationError


def _script(tmp_path: Path, text: str, **values: str) -> str:
    path = tmp_path / "file.sql"
    path.write_text(text, encoding="utf-8")
    return psql.script(path, values)


def test_variables_come_from_set_lines(tmp_path: Path) -> None:
    path = tmp_path / "storage.sql"
    path.write_text("-- a comment\n\\set columnar 'WITH (a=b) DISTRIBUTED RANDOMLY'\n\\set heap ''\n")
    assert psql.variables(path) == {"columnar": "WITH (a=b) DISTRIBUTED RANDOMLY", "heap": ""}


def test_bare_variables_are_replaced_and_casts_are_not(tmp_path: Path) -> None:
    assert _script(tmp_path, "SELECT x::date FROM t_:mrf", mrf="mrf1") == "SELECT x::date FROM t_mrf1"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        pytest.param("Europe/Moscow", "'Europe/Moscow'", id="plain"),
        pytest.param("O'Hara", "'O''Hara'", id="quote"),
        pytest.param("a\\'b", " E'a\\\\''b'", id="backslash"),
        pytest.param(":mrf", "':mrf'", id="values are not substituted again"),
    ],
)
def test_quoted_variables_become_literals(tmp_path: Path, value: str, literal: str) -> None:
    assert _script(tmp_path, "SELECT :'value'", value=value) == f"SELECT {literal}"


def test_comments_need_no_values(tmp_path: Path) -> None:
    assert _script(tmp_path, "SELECT 1 -- of t_:mrf and :'timezone'") == "SELECT 1 "


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'no -- comment', 'no :mrf', 'it''s :mrf'",
        """SELECT 1 AS "no :mrf -- at all", "a""b :mrf\"""",
        r"SELECT E'it\'s :mrf -- here'",
        "DO $$ SELECT ':' -- :mrf\n $$",
        "DO $body$ SELECT $$ :mrf $$ $body$",
    ],
)
def test_nothing_is_replaced_inside_quotes(tmp_path: Path, text: str) -> None:
    assert _script(tmp_path, text) == text


def test_comments_are_removed_and_hide_quotes(tmp_path: Path) -> None:
    text = "SELECT 1, -- it's :mrf\n /* isn't :mrf */ :mrf"
    assert _script(tmp_path, text, mrf="mrf1") == "SELECT 1, \n  mrf1"


def test_a_checksum_is_of_what_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "file.sql"
    sums = []
    for text in ("SELECT ':a'\n", "-- A.\r\nSELECT  ':a' /* b */", "SELECT ':b'", "SELECT :a"):
        path.write_text(text, encoding="utf-8")
        sums.append(psql.checksum(path))
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3


@pytest.mark.parametrize("text", ["SELECT :missing", "SELECT :'missing'"])
def test_a_variable_without_a_value_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        _script(tmp_path, text)


def test_a_missing_file_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SQL_DIR"):
        psql.script(tmp_path / "none.sql", {})
