"""The request log: proof of what arrived. One JSON line when a request is received, one when it is answered."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson

from pveops.base.clock import iso
from pveops.base.errors import ConfigError
from pveops.base.redact import redact_value


class RequestLog:
    """Appends to a file, each line flushed before the request goes on; without a file it only counts.

    Lines: ``{"seq", "phase": "in", "t", "method", "path", "params", "user"}`` when received, before any delay, and
    ``{"seq", "phase": "out", "t", "status", "ms"}`` when the answer is ready to be sent. ``t`` is real time (RFC 3339, UTC), ``ms`` real
    milliseconds since it was received, ``user`` who the request says it comes from, ``params`` redacted.
    """

    def __init__(self, path: Path | None) -> None:
        self._seq = 0
        self._file: IO[bytes] | None = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("ab", buffering=0)
            except OSError as err:
                raise ConfigError(
                    f"Cannot write the request log {path}: {err.strerror}.", hint="Name a file in a folder that you may write."
                ) from err

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as err:
            sys.stderr.write(f"pveops sim: the request log cannot be written any more: {err.strerror}\n")
            self._file = None

    def received(self, method: str, path: str, params: dict[str, Any], user: str) -> int:
        """A request arrived; the number is what ``answered`` wants."""
        self._seq += 1
        if self._file is not None:
            row = {"seq": self._seq, "phase": "in", "t": iso(datetime.now(UTC)), "method": method, "path": path}
            self._write(row | {"params": redact_value(params), "user": user})
        return self._seq

    def answered(self, seq: int, status: int, ms: float) -> None:
        """The answer is ready."""
        if self._file is not None:
            self._write({"seq": seq, "phase": "out", "t": iso(datetime.now(UTC)), "status": status, "ms": round(ms, 2)})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
