"""Shared by all tests: nothing of the caller's own pveops set-up leaks in, and only loopback is reachable."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# a busy machine is no fault of the code: tests have their time limits elsewhere
# the same examples every time: what lands is decided by what changed; `thorough` looks for what nobody thought of
settings.register_profile("house", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)  # TESTS=thorough make unit
settings.load_profile(os.environ.get("TESTS", "house"))

for name in [key for key in os.environ if key.startswith("PVEOPS_")]:
    del os.environ[name]

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> Any:
    host = address[0] if isinstance(address, tuple) else ""
    if host and not (host.startswith("127.") or host in ("localhost", "::1")):
        raise AssertionError(f"a test wanted to connect to {address}")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


def pytest_collection_modifyitems(items):
    """Whatever is not in `unit` or `arch` talks to servers, processes or stores: it belongs to the slow part, without a mark of its own."""
    quick = (Path(__file__).parent / "unit", Path(__file__).parent / "arch")
    for item in items:
        if not item.path.is_relative_to(quick[0]) and not item.path.is_relative_to(quick[1]):
            item.add_marker(pytest.mark.slow)
