"""A small disk of its own, which can be full."""

import functools
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BLOCK = 1 << 20


class Disk:
    """A file system in memory that is mounted on a folder, where this user may mount; else the folder."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if can_mount():
            _unmount(folder)  # what a run that was killed has left
            _mount(folder, megabytes)

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Leave no byte free, until the end of the block."""
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
        """Unmount it; what still uses it keeps it until it ends."""
        _unmount(self.folder)


@functools.cache
def can_mount() -> bool:
    """Tell whether this user may mount: root may, unless it is in a container without that right."""
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
