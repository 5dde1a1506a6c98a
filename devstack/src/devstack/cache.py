"""Downloads in the user's cache."""

import shutil
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from devstack.server import lock


def cached(name: str, download: Callable[[Path], Path]) -> Path:
    """Return a folder of the cache. One process downloads it the first time, while others wait.

    Args:
        name: of the folder.
        download: takes an empty staging folder and returns the folder inside it to keep. The remains of an
            interrupted download are removed first.
    """
    home = user_cache_path("crmbot-devstack") / name
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with lock(home.parent / "lock", wait=True):
            if not home.is_dir():
                staging = home.with_name(f"{name}.part")
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir()
                download(staging).rename(home)
                shutil.rmtree(staging)
    return home
