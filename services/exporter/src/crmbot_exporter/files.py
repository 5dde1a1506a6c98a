"""Atomic replacement of files, and scratch folders."""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from traceback import walk_tb
from typing import BinaryIO
from zipfile import ZipFile

from xlsxwriter.exceptions import FileCreateError

from crmbot_core.errors import ConfigurationError, CrmBotError

_SCRATCH_PREFIX = "crmbot-exporter-"
_WRONG_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Replace `path` atomically: yield a temporary file beside it and rename it to `path` on success.

    The temporary file is locked while its process lives, so that the next run removes the leftovers of killed
    runs and no others.

    Raises:
        ConfigurationError: if the folder is missing or not writable.
        CrmBotError: if the disk is full or fails; the old file is untouched.
    """
    with _translated_errors(path):
        _remove_leftovers(path.parent, f".{path.name}.*.tmp")
        temporary, file = _locked_file(path)
        try:
            with file:
                try:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException as error:
                    _detach_archives(error)
                    raise
                temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def require_folder(folder: Path) -> None:
    """Raise ConfigurationError, before any work is done, unless files can be created in the folder."""
    try:
        status = folder.stat()
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}; check OUTPUT_DIR") from error
    if not stat.S_ISDIR(status.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{folder} is not a folder that can be written: check OUTPUT_DIR")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder in TMPDIR for the parts of a workbook; the next run removes those of killed runs."""
    _remove_leftovers(Path(gettempdir()), f"{_SCRATCH_PREFIX}*")
    with TemporaryDirectory(prefix=_SCRATCH_PREFIX) as name:
        folder = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(folder)


def _locked_file(path: Path) -> tuple[Path, BinaryIO]:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        # Not from tempfile, whose mode 0600 would lock out every reader of the workbook.
        file = temporary.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        # Another run may have removed it as a leftover before it was locked.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
                return temporary, file
        file.close()


def _detach_archives(error: BaseException) -> None:
    """Keep open ZIP files of the failed frames from writing their directory when garbage-collected."""
    failure: BaseException | None = error
    while failure is not None:
        for frame, _ in walk_tb(failure.__traceback__):
            for value in frame.f_locals.values():
                if isinstance(value, ZipFile):
                    value.fp = None
        failure = failure.__context__


def _remove_leftovers(folder: Path, pattern: str) -> None:
    for leftover in folder.glob(pattern):
        with suppress(OSError):  # in use, already removed, or another user's
            descriptor = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, FileCreateError) as error:
        # XlsxWriter wraps the OSError.
        cause = error.args[0] if isinstance(error, FileCreateError) else error
        if not isinstance(cause, OSError):
            raise
        if cause.errno in _WRONG_FOLDER:
            raise ConfigurationError(
                f"{path} cannot be written: {cause.strerror}; check OUTPUT_DIR and TMPDIR"
            ) from error
        raise CrmBotError(
            f"{path} was not written, the old one is untouched: {cause.strerror}; a workbook needs room "
            f"in {path.parent} and, for its parts, in {gettempdir()} (TMPDIR)"
        ) from error
