"""A connection that is opened a moment before it is needed. Nothing was sent over it when a change takes it, and nothing else ever uses it."""

from __future__ import annotations

import contextlib
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from pveops.base.clock import Clock

_FRESH_S = 2.0
"""A server gives up a connection that says nothing; pveproxy after five seconds."""
_MOST = 8


@dataclass(slots=True)
class _Spare:
    url: str
    session: requests.Session
    since_s: float
    ready: threading.Event = field(default_factory=threading.Event)
    connection: Any = None
    """urllib3's; none where none could be made."""

    def open(self, connect_s: float) -> None:
        """Connect and shake hands, as the session's own first request would."""
        try:
            adapter: Any = self.session.get_adapter(self.url)
            request = requests.Request("GET", self.url).prepare()
            pool = adapter.get_connection_with_tls_context(request, self.session.verify)
            adapter.cert_verify(pool, self.url, self.session.verify, self.session.cert)
            connection = pool._get_conn()  # noqa: SLF001 - neither library has a public way to connect without asking something
            connection.timeout = connect_s
            connection.connect()
            pool._put_conn(connection)  # noqa: SLF001
            self.connection = connection
        except (requests.exceptions.RequestException, HTTPError, OSError):
            self.session.close()  # whoever sends opens one anew and is told what is wrong
        finally:
            self.ready.set()

    def alive(self) -> bool:
        """Whether it is connected and silent. Looking takes in what TLS itself has sent, which urllib3 would mistake for an end."""
        handle = getattr(self.connection, "sock", None)
        if handle is None:
            return False
        before = handle.gettimeout()
        try:
            handle.settimeout(0)
            handle.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            handle.settimeout(before)
            return True
        except OSError:
            return False
        return False  # an end, or words that nobody asked for


class Spares:
    """Connections that wait for a change.

    Args:
        clock: for their age.
        connect_s: how long a connection may take, in seconds.
    """

    def __init__(self, clock: Clock, *, connect_s: float) -> None:
        self._clock = clock
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._spares: list[_Spare] = []

    def add(self, url: str, session: requests.Session) -> None:
        """Begin to connect a fresh session, which is ours from now on, and return at once."""
        self._drop(self._clock.monotonic_s() - _FRESH_S)
        spare = _Spare(url, session, self._clock.monotonic_s())
        with self._lock:
            if len(self._spares) >= _MOST:
                return
            self._spares.append(spare)
        threading.Thread(target=spare.open, args=(self._connect_s,), name="spare", daemon=True).start()

    def take(self, url: str) -> requests.Session | None:
        """The session of a connection that is open and has carried nothing; none where there is none. It is the caller's from now on."""
        self._drop(self._clock.monotonic_s() - _FRESH_S)
        with self._lock:
            spare = next((one for one in self._spares if one.url == url), None)
            if spare is None:
                return None
            self._spares.remove(spare)
        spare.ready.wait(self._connect_s)
        if spare.alive():
            return spare.session
        spare.session.close()
        return None

    def close(self) -> None:
        """Close all."""
        self._drop(float("inf"))

    def _drop(self, before_s: float) -> None:
        """Close what was begun before a time and is not being connected any more."""
        with self._lock:
            old = [spare for spare in self._spares if spare.since_s < before_s and spare.ready.is_set()]
            self._spares = [spare for spare in self._spares if spare not in old]
        for spare in old:
            with contextlib.suppress(OSError):
                spare.session.close()
