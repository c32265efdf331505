"""``python -m pveops.surfaces.dash --port N --profile P``: the page server as a process of its own."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from pathlib import Path

from pveops.base.errors import ConfigError, PveopsError
from pveops.surfaces.dash import TOKEN_VARIABLE


def main(arguments: list[str] | None = None) -> int:
    """Serve until ended; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pveops.surfaces.dash", description="Serves the pveops pages on a loopback port.")
    parser.add_argument("--port", type=int, default=5006, help="Port on 127.0.0.1")
    parser.add_argument("--profile", default="", help="Profile of config.toml; the usual one if not given")
    options = parser.parse_args(arguments)
    try:
        _check(options.port)
        return _serve(options.port, options.profile)
    except PveopsError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code


def _check(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise ConfigError(f"Port {port} is taken.", hint="Choose another with --port.") from err


def _serve(port: int, profile: str) -> int:
    """Start ``panel serve`` in this process.

    Raises:
        ConfigError: the page's file is not there, or the profile is not usable.
    """
    import pveops.present  # noqa: PLC0415 - only when serving
    from pveops.app.content import folder  # noqa: PLC0415 - only when serving
    from pveops.settings.home import Home  # noqa: PLC0415
    from pveops.settings.profile import resolve  # noqa: PLC0415

    os.environ["BOKEH_RESOURCES"] = "server"
    if profile:
        os.environ["PVEOPS_PROFILE"] = profile
    resolve(profile or None, Home.find(os.environ), os.environ)
    if not os.environ.get(TOKEN_VARIABLE):
        os.environ[TOKEN_VARIABLE] = secrets.token_urlsafe(24)
        sys.stderr.write(f"Open http://127.0.0.1:{port}/cluster?token={os.environ[TOKEN_VARIABLE]}\n")
    from panel.command import main as panel_main  # noqa: PLC0415 - heavy; settings above come first

    static, here = Path(pveops.present.__file__).with_name("static"), Path(__file__)
    sys.argv = [
        "panel", "serve", str(folder("dashboards") / "cluster.py"), "--address", "127.0.0.1", "--port", str(port),
        "--allow-websocket-origin", f"127.0.0.1:{port}", "--allow-websocket-origin", f"localhost:{port}",
        "--static-dirs", f"pveops-static={static}", "--auth-module", str(here.with_name("auth.py")), "--plugins", "pveops.surfaces.dash.scraped", "--warm", "--log-level", "warning",
    ]  # fmt: skip
    panel_main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
