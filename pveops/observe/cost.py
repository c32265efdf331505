"""What this process costs: requests to clusters by node, bytes of answers, hits of caches. Kept beside the others' in a file per process.

Counting is one dictionary update; the file is written at most every ten seconds (a long one more rarely, at most 52 MB a day), so that
whoever asks later (``pveops self``, a scraper) sees every process of a home, the short ones too.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pveops.base.errors import ConfigError
from pveops.base.files import write_whole

_NODE = re.compile(r"^/nodes/([^/]+)")
_WRITE_EVERY_S = 10.0
_MOST_BYTES_PER_S = 600
_MINUTES = 60
_KEPT_S = 86_400


@dataclass(slots=True)
class Cost:
    """The counters of one process. Safe to share between threads."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    answered_bytes: int = 0
    failed: int = 0
    caches: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _minutes: deque[tuple[int, Counter[str]]] = field(default_factory=lambda: deque(maxlen=_MINUTES))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _file: Path | None = None
    _role: str = ""
    _written_s: float = 0.0
    _wait_s: float = _WRITE_EVERY_S
    _began: float = field(default_factory=time.time)

    def request(self, endpoint: str, path: str, *, answered_bytes: int, failed: bool = False) -> None:
        """One request that left: to which address, for which path of the API, and how much came back."""
        found = _NODE.match(path)
        node = found[1] if found else ""
        minute = int(time.time() // 60)
        with self._lock:
            self.requests[endpoint, node] += 1
            self.answered_bytes += answered_bytes
            self.failed += failed
            if not self._minutes or self._minutes[-1][0] != minute:
                self._minutes.append((minute, Counter()))
            self._minutes[-1][1][node] += 1
        self._write(now=False)

    def cache(self, name: str, *, hit: bool) -> None:
        """Something was looked for in a cache."""
        with self._lock:
            self.caches[name, hit] += 1

    def keep(self, folder: Path, role: str) -> None:
        """Write the counters into this folder of a home from now on, under the process id; not where there is no home."""
        with self._lock:
            if not folder.parent.parent.is_dir():
                return
            first = self._file is None
            self._file, self._role, self._written_s = folder / f"{os.getpid()}.json", role, 0.0
        if first:
            atexit.register(self._write, now=True)

    def told(self) -> dict[str, Any]:
        """The counters as JSON; ``minutes``: ``[minute since 1970, {node: requests}]``, the last hour at most; an empty node is the cluster itself."""
        with self._lock:
            return {
                "pid": os.getpid(), "role": self._role, "began_s": self._began, "at_s": time.time(), "answered_bytes": self.answered_bytes,
                "failed": self.failed, "requests": [[*key, count] for key, count in self.requests.items()],
                "caches": [[*key, count] for key, count in self.caches.items()], "minutes": [[minute, dict(nodes)] for minute, nodes in self._minutes],
            }  # fmt: skip

    def _write(self, *, now: bool) -> None:
        file = self._file
        if file is None or not (now or time.monotonic() - self._written_s > self._wait_s):
            return
        first, self._written_s = self._written_s == 0.0, time.monotonic()
        try:
            content = json.dumps(self.told()).encode()
            self._wait_s = max(_WRITE_EVERY_S, len(content) / _MOST_BYTES_PER_S)
            write_whole(file, content)
            if first:
                _tidy(file.parent)
        except (ConfigError, OSError):
            self._file = None  # a full disk must not end a read; the counters stay in memory


def _tidy(folder: Path) -> None:
    """Take away what processes left that ended more than a day ago."""
    for old in folder.glob("*.json"):
        if time.time() - old.stat().st_mtime > _KEPT_S and not Path(f"/proc/{old.stem}").exists():
            old.unlink(missing_ok=True)


SPENT = Cost()
"""Of this process."""
