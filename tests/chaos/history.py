"""The history of a run: one line of JSON per event, to analyse failures."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock


@dataclass
class History:
    """Writes events with the seconds since the start, and prints them if `verbose`."""

    file: Path
    verbose: bool = False
    _started: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def add(self, event: str, **details: object) -> None:
        """Record an event."""
        seconds = round(time.monotonic() - self._started, 2)
        with self._lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": seconds, "event": event, **details}, ensure_ascii=False) + "\n")
        if self.verbose:
            print(f"{seconds:7.1f}  {event}  {' '.join(f'{k}={v}' for k, v in details.items())}", flush=True)
