"""Workbooks are replaced atomically."""

import errno
import fcntl
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile

import pytest

from crmbot_core.errors import ConfigurationError, CrmBotError
from crmbot_exporter.files import replaced, scratch_folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "actions_mrf1.xlsx"
    path.write_bytes(b"old")
    return path


def test_the_new_file_replaces_the_old_one(old: Path) -> None:
    with replaced(old) as file:
        file.write(b"new")
        assert old.read_bytes() == b"old"
    assert old.read_bytes() == b"new"
    assert list(old.parent.iterdir()) == [old]


def test_other_users_may_read_the_file(old: Path) -> None:
    with replaced(old) as file:
        file.write(b"new")
    assert old.stat().st_mode & 0o044 == 0o044


def _fail_half_way(path: Path) -> None:
    with replaced(path) as file:
        file.write(b"ne")
        raise ValueError("half way")


def test_a_failure_leaves_only_the_old_file(old: Path) -> None:
    with pytest.raises(ValueError, match="half way"):
        _fail_half_way(old)
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]


@contextmanager
def _small_files() -> Iterator[None]:
    """Limit the file size to simulate a full disk; pytest's own output may be a file too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_size_limit_is_a_one_line_error_and_keeps_the_old_file(old: Path) -> None:
    refusal = pytest.raises(CrmBotError, match="old one is untouched")
    with refusal as failure, _small_files(), replaced(old) as file:
        file.write(b"x" * 5000)
    assert "\n" not in str(failure.value)
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]


def test_an_unfinished_archive_raises_nothing_when_collected(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)

    def write(file: BinaryIO) -> None:
        archive = ZipFile(file, "w")
        archive.writestr("sheet.xml", b"x" * 50_000)

    refusal = pytest.raises(CrmBotError, match="old one is untouched")
    with refusal as failure, _small_files(), replaced(old) as file:
        write(file)
    del failure
    gc.collect()
    assert complaints == []
    assert list(old.parent.iterdir()) == [old]


def test_a_full_disk_names_the_folders_that_need_space(old: Path) -> None:
    with pytest.raises(CrmBotError, match=r"No space left .*TMPDIR"), replaced(old):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="OUTPUT_DIR"), replaced(tmp_path / "none" / "a.xlsx"):
        pytest.fail("there is nothing to write to")


def test_leftovers_of_killed_runs_are_removed_and_files_of_live_runs_are_not(old: Path) -> None:
    killed, live, other = (
        old.with_name(name)
        for name in (".actions_mrf1.xlsx.1.tmp", ".actions_mrf1.xlsx.2.tmp", ".nature_mrf1.xlsx.3.tmp")
    )
    for path in (killed, live, other):
        path.touch()
    with live.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with replaced(old) as new:
            new.write(b"new")
    assert sorted(old.parent.iterdir()) == sorted([old, live, other])


def test_two_concurrent_runs_leave_one_complete_file(old: Path) -> None:
    with replaced(old) as first, replaced(old) as second:
        first.write(b"first")
        second.write(b"second")
    assert old.read_bytes() == b"first"
    assert list(old.parent.iterdir()) == [old]


def test_scratch_folders_of_killed_runs_are_removed_and_of_live_runs_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = tmp_path / "crmbot-exporter-killed"
    killed.mkdir()
    (killed / "sheet.xml").touch()
    with scratch_folder() as live:
        with scratch_folder() as ours:
            assert set(tmp_path.iterdir()) == {live, ours}
        assert list(tmp_path.iterdir()) == [live]
    assert list(tmp_path.iterdir()) == []
