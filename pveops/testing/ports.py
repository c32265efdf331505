"""A port for a server that must be told its port before it starts."""

from __future__ import annotations

import random
import socket

# below the range the kernel deals out to connections (32768 and up on Linux): a port found there could be taken
# by any client of the machine before the server that it was found for listens
FIRST, LAST = 20_000, 32_000


def free_port() -> int:
    """A loopback port that nobody listens on now and that no client is given by chance.

    Raises:
        RuntimeError: a hundred ports in a row are taken.
    """
    for _ in range(100):
        port = random.SystemRandom().randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port found between {FIRST} and {LAST} on loopback")
