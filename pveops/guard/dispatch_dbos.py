"""Lets runs advance through a DBOS queue, so that several workers share the work. The journal stays the truth: a name that arrives twice is harmless."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from pveops.base.errors import ConfigError, PveopsError

_LOG = logging.getLogger("pveops.executor")
_QUEUE = "pveops-runs"
_VERSION = "pveops-journal-1"
"""Pinned, so that a new release of ours takes what the old one left. It changes only with the form of what is queued: a name."""
_SWEEP_EVERY = 500


class DbosDispatcher:
    """A queue in the database.

    Args:
        url: of the database, as DBOS wants it (``sqlite:///…`` or ``postgresql+psycopg://…``).
        worker: our own name. Two processes with the same one would do work twice, so it is new at every start.
        workers: runs that are advanced here at once.
        poll_s: how often the queue is looked at, in seconds.

    Raises:
        ConfigError: DBOS is not installed.
    """

    def __init__(self, *, url: str, worker: str, workers: int, poll_s: float = 0.2) -> None:
        try:
            from dbos import DBOS, Serializer, SetEnqueueOptions, SetWorkflowID  # noqa: PLC0415 - an extra, and 2 s of CPU
        except ModuleNotFoundError as err:
            raise ConfigError("The dispatcher is set to dbos, and DBOS is not installed.", hint="Install pveops[dbos].") from err

        class _Json(Serializer):
            """Text that people can read; the default would unpickle what it finds in the database."""

            def serialize(self, data: Any) -> str:
                return json.dumps(data if not isinstance(data, BaseException) else str(data), default=str)

            def deserialize(self, serialized_data: str) -> Any:
                return json.loads(serialized_data)

            def name(self) -> str:
                return "json"

        self._dbos = DBOS
        self._options = SetEnqueueOptions
        self._named = SetWorkflowID
        self._workers = workers
        self._poll_s = poll_s
        self._done = 0
        self._config: Any = {
            "name": "pveops", "system_database_url": url, "application_version": _VERSION, "executor_id": worker, "serializer": _Json(),
            "use_listen_notify": False, "enable_otlp": False, "log_level": "WARNING",
        }  # fmt: skip
        self._workflow: Callable[[str], None] | None = None

    def start(self, advance: Callable[[str], None]) -> None:
        """Begin to work."""
        self._dbos(config=self._config)

        @self._dbos.workflow(name="advance")
        def go(name: str) -> None:
            _advance(advance, name)

        self._workflow = go
        self._dbos.launch()
        self._dbos.register_queue(_QUEUE, worker_concurrency=self._workers, polling_interval_sec=self._poll_s)

    def submit(self, run_id: str, *, after_s: float = 0.0) -> None:
        """Let a run advance, now or after a while (seconds). What waits is a row: it holds neither a thread nor a place in the queue."""
        if self._workflow is None:
            return
        if after_s <= 0:
            self._dbos.enqueue_workflow(_QUEUE, self._workflow, run_id)
        else:
            due_s = math.ceil(time.time() + after_s)
            with self._named(f"{run_id}@{due_s}"), self._options(delay_seconds=after_s):  # the same thing at the same time is one row
                self._dbos.enqueue_workflow(_QUEUE, self._workflow, run_id)
        self._done += 1
        if self._done % _SWEEP_EVERY == 0:
            self._sweep()

    def stop(self) -> None:
        """Begin no further work, and wait for what is between two steps."""
        self._workflow = None
        self._dbos.destroy(workflow_completion_timeout_sec=30)

    def _sweep(self) -> None:
        """Forget what is over: the journal tells about it, not the queue."""
        over = self._dbos.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"], name="advance", limit=2 * _SWEEP_EVERY, load_input=False, load_output=False
        )
        self._dbos.delete_workflows([flow.workflow_id for flow in over])


def _advance(advance: Callable[[str], None], name: str) -> None:
    try:
        advance(name)
    except PveopsError as err:
        _LOG.warning("a run could not advance", extra={"run": name, "error": err.message})
    except Exception:  # noqa: BLE001 - a fault of ours must not take the other runs along
        # the run stays in the journal as it is and is looked at again at the next start
        _LOG.exception("a run stopped by a fault", extra={"run": name})
