"""``python -m pveops.surfaces.daemon``: the executor's process; ``pveops executor run`` becomes it."""

from __future__ import annotations

import argparse
import os
import sys

from pveops.base.errors import PveopsError
from pveops.settings.home import Home
from pveops.surfaces.daemon.serve import serve, serve_helper


def main() -> int:
    """Serve until told to stop; an error is one paragraph on stderr and its exit code."""
    parser = argparse.ArgumentParser(prog="pveops executor run", description="The process that alone holds the write token.")
    parser.add_argument("--profile", default=None)
    parser.add_argument("--worker", action="store_true", help="a further worker on a shared store, without a socket")
    given = parser.parse_args()
    try:
        return (serve_helper if given.worker else serve)(Home.find(os.environ), given.profile, os.environ)
    except PveopsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
