"""``python -m pveops.surfaces.daemon``: the executor's process; ``pveops executor run`` becomes it."""

from __future__ import annotations

import argparse
import os
import sys

from pveops.base.errors import PveopsError
from pveops.settings.home import Home
from pveops.surfaces.daemon.serve import serve


def main() -> int:
    """Serve until told to stop; an error is one paragraph on stderr and its exit code."""
    parser = argparse.ArgumentParser(prog="pveops executor run", description="The process that alone holds the write token.")
    parser.add_argument("--profile", default=None)
    given = parser.parse_args()
    try:
        return serve(Home.find(os.environ), given.profile, os.environ)
    except PveopsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
