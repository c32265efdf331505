"""``python -m pveops`` and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from pveops.surfaces.cli.main import run  # noqa: PLC0415 - nothing else needs the command line

    sys.exit(run())


if __name__ == "__main__":
    main()
