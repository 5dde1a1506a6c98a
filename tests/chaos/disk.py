"""A small disk that can be filled."""

import functools
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BLOCK = 1 << 20


class Disk:
    """A tmpfs mounted on a folder; a plain folder if this user may not mount."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if can_mount():
            _unmount(folder)  # left by a killed run
            _mount(folder, megabytes)

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Leave no free space within the block."""
        assert self.folder.is_mount()
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(_BLOCK)):
                    pass
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it lazily: processes that still use it keep it."""
        _unmount(self.folder)


@functools.cache
def can_mount() -> bool:
    """Return whether this user may mount: root may, except in a container without the capability."""
    with tempfile.TemporaryDirectory() as name, suppress(OSError, subprocess.CalledProcessError):
        _mount(Path(name), 1)
        _unmount(Path(name))
        return True
    return False


def _mount(folder: Path, megabytes: int) -> None:
    options = f"size={megabytes}m,mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "torture", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
