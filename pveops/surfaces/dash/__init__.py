"""The pages: Panel on a loopback port, one process, one shared reader for all who look.

``serve_command`` is how others start it; everything heavy is imported by the started process.
"""

from __future__ import annotations

import sys

__all__ = ["TOKEN_VARIABLE", "serve_command"]

TOKEN_VARIABLE = "PVEOPS_PAGE_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""Environment variable with the token that the first visit must bring as ``?token=``."""


def serve_command(port: int, *, profile: str | None = None) -> list[str]:
    """The command that serves the pages on a loopback port; set ``PVEOPS_PAGE_TOKEN`` in its environment."""
    return [sys.executable, "-m", "pveops.surfaces.dash", "--port", str(port), *(("--profile", profile) if profile else ())]
