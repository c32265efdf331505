"""Lets runs advance in this process, on a few threads of its own."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pveops.base.clock import Clock
from pveops.base.errors import PveopsError

_LOG = logging.getLogger("pveops.executor")


class InProcess:
    """A dispatcher with a due time per run. Submitting a run twice is harmless: whoever comes second finds it busy or ended."""

    def __init__(self, *, workers: int, clock: Clock) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="run")
        self._due: list[tuple[float, str]] = []
        self._wake = threading.Condition()
        self._stopped = False
        self._advance: Callable[[str], None] = lambda _run_id: None
        self._thread = threading.Thread(target=self._loop, name="dispatch", daemon=True)

    def start(self, advance: Callable[[str], None]) -> None:
        """Begin to work."""
        self._advance = advance
        self._thread.start()

    def submit(self, run_id: str, *, after_s: float = 0.0) -> None:
        """Let a run advance, now or after a while (seconds)."""
        with self._wake:
            heapq.heappush(self._due, (self._clock.monotonic_s() + after_s, run_id))
            self._wake.notify()

    def stop(self) -> None:
        """Begin no further work, and wait for what is between two steps."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not self._stopped and (not self._due or self._due[0][0] > self._clock.monotonic_s()):
                    self._wake.wait(self._due[0][0] - self._clock.monotonic_s() if self._due else None)
                if self._stopped:
                    return
                _, run_id = heapq.heappop(self._due)
            self._pool.submit(self._one, run_id)

    def _one(self, run_id: str) -> None:
        try:
            self._advance(run_id)
        except PveopsError as err:
            _LOG.warning("a run could not advance", extra={"run": run_id, "error": err.message})
        except Exception:  # noqa: BLE001 - a fault of ours must not take the other runs along
            # the run stays in the journal as it is and is looked at again at the next start
            _LOG.exception("a run stopped by a fault", extra={"run": run_id})
