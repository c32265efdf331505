"""Takes a port."""

from __future__ import annotations

import errno
import socket

from pveops.base.errors import ConfigError


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A listening socket; ``option`` is what chose the port.

    Raises:
        ConfigError: the port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError as err:
        listener.close()
        if err.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} on {host} is taken.", hint=f"Stop what listens there, or choose another with {option} (0 takes any free one)."
            ) from err
        raise ConfigError(f"Cannot listen on {host} port {port}: {err.strerror}.", hint=f"Check --host and {option}.") from err
    return listener
