"""Notebooks, runbooks and dashboards that ship with pveops: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pveops.base.errors import ConfigError

Kind = Literal["notebooks", "runbooks", "dashboards"]


def folder(kind: Kind) -> Path:
    """Where they are.

    Raises:
        ConfigError: this installation has none.
    """
    package = Path(__file__).parents[1]
    for place in (package / "content" / kind, package.parent / kind):
        if place.is_dir():
            return place
    raise ConfigError(f"This installation of pveops holds no {kind}.", hint="Install it from its wheel, or run it from a checkout.")


def copy_missing(kind: Kind, target: Path) -> list[Path]:
    """Copy what is not there yet, so that nobody's own changes are lost; returns the copies made."""
    target.mkdir(parents=True, exist_ok=True)
    made = []
    for source in sorted(folder(kind).glob("*.ipynb" if kind != "dashboards" else "*.py")):
        copy = target / source.name
        if not copy.exists():
            shutil.copyfile(source, copy)
            made.append(copy)
    return made
