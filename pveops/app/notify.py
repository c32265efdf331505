"""Tells people that something waits for them: a command, or a webhook on this machine. A failure is logged and blocks nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from pveops.base.errors import ConfigError
from pveops.settings.profile import Notify

_LOG = logging.getLogger("pveops.notify")
KINDS = frozenset({"proposal.waiting", "proposal.vote", "glass.broken", "kill.on", "kill.off"})
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TIMEOUT_S = 10.0

Feed = Callable[[int], Sequence[dict[str, Any]]]
"""Lines of the executor's feed after a number; a negative number means the last so many."""


class Notifier:
    """Follows the feed on a thread of its own.

    Args:
        how: what to run or post to.
        feed: the feed.
        describe: more about a proposal, by its id.
    """

    def __init__(self, how: Notify, feed: Feed, describe: Callable[[str], dict[str, Any]]) -> None:
        host = urlsplit(how.webhook).hostname if how.webhook else _LOOPBACK[0]
        if host not in _LOOPBACK:
            raise ConfigError(
                f"notify.webhook goes to {host}, and only this machine is allowed.", hint="Let a relay on 127.0.0.1 pass it on."
            )
        self._how = how
        self._feed = feed
        self._describe = describe
        self._news, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="notify", daemon=True)

    def start(self) -> None:
        """Begin, with what is announced from now on."""
        if self._how.command or self._how.webhook:
            last = self._feed(-1)
            self._after = int(last[-1]["seq"]) if last else 0
            self._thread.start()

    def ring(self) -> None:
        """Something was announced."""
        self._news.set()

    def stop(self) -> None:
        """End; what is being told may take a moment."""
        self._done.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_S + 1)

    def _loop(self) -> None:
        while not self._done.is_set():
            self._news.wait(5.0)
            self._news.clear()
            try:
                for row in self._feed(self._after):
                    self._after = int(row["seq"])
                    if row["kind"] in KINDS:
                        self._tell(row)
            except Exception as err:  # noqa: BLE001 - whatever goes wrong with telling must not end the telling, nor anything else
                _LOG.warning("could not notify", extra={"error": f"{type(err).__name__}: {err}"})

    def _tell(self, row: dict[str, Any]) -> None:
        body = {key: row[key] for key in ("kind", "at", "actor", "text", "proposal_id")}
        if row["proposal_id"]:
            body |= self._describe(str(row["proposal_id"]))
        text = json.dumps(body, ensure_ascii=False)
        if self._how.command:
            subprocess.run(list(self._how.command), input=text.encode(), timeout=_TIMEOUT_S, check=True, capture_output=True)
        if self._how.webhook:
            with httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
                client.post(self._how.webhook, content=text, headers={"Content-Type": "application/json"}).raise_for_status()
