"""JSON log lines with the correlation id, redacted on the way out."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from pveops.base.clock import iso
from pveops.base.redact import redact, redact_value
from pveops.observe.context import correlation

if TYPE_CHECKING:
    from pathlib import Path

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LOUD = ("proxmoxer", "urllib3", "httpx", "httpcore", "uvicorn.access")
"""Libraries that log request bodies or every request; proxmoxer writes POST bodies, passwords included, at INFO."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``t level logger msg correlation`` and whatever was passed as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        line: dict[str, Any] = {
            "t": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redact(record.getMessage()),
            "correlation": correlation(),
        }
        line.update({key: redact_value(value) for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class RedactingFilter(logging.Filter):
    """Redacts the message itself, for handlers that are not ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always keeps the record, without its secrets."""
        record.msg, record.args = redact(record.getMessage()), None
        return True


def quiet_libraries() -> None:
    """Keep libraries that print bodies at WARNING and behind the redacting filter, whatever the root logger says."""
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
        if not any(isinstance(item, RedactingFilter) for item in logger.filters):
            logger.addFilter(RedactingFilter())


def set_up(path: Path | None, *, level: int = logging.INFO) -> None:
    """Send the log of this process to a file (10 MB, 3 old ones kept), or to stderr where no file is given."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=10_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger("pveops")
    for old in root.handlers:
        old.close()
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    quiet_libraries()
