"""A safe control room for Proxmox VE clusters.

>>> import pveops
>>> ops = pveops.connect()          # doctest: +SKIP
>>> ops.guests()                    # doctest: +SKIP

Reading is instant; changing goes one way: plan, preview, proposal, approval by a person, executor, audit ledger.
Names are loaded when they are used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pveops.app.fleet import Fleet
    from pveops.app.ops import Ops

    __version__: str

__all__ = ["Ops", "PveopsError", "__version__", "connect", "connect_all"]


def connect(profile: str | None = None, **options: Any) -> Ops:
    """Open a cluster for reading, and for proposing changes where an executor runs. See ``pveops.app.ops.connect``."""
    from pveops.app.ops import connect as opened  # noqa: PLC0415 - lazy on purpose

    ops = opened(profile, **options)
    _adorn()
    return ops


def connect_all(profiles: Sequence[str] | None = None, **options: Any) -> Fleet:
    """Open several clusters, by default every profile: one frame, told apart by the column ``cluster``. See ``pveops.app.fleet.connect_all``."""
    from pveops.app.fleet import connect_all as opened  # noqa: PLC0415 - lazy on purpose

    fleet = opened(profiles, **options)
    _adorn()
    return fleet


def _adorn() -> None:
    """Inside IPython: let proposals show as cards and ``%%ops`` work, without asking people to load anything."""
    import sys  # noqa: PLC0415 - lazy on purpose

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        load_ipython_extension(shell)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext pveops``: cards, tables and the ``%%ops`` cell."""
    from pveops.surfaces.widgets import register  # noqa: PLC0415 - lazy on purpose

    register(shell)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from pveops.base.version import VERSION  # noqa: PLC0415 - lazy on purpose

        return VERSION
    if name == "Ops":
        from pveops.app.ops import Ops  # noqa: PLC0415 - lazy on purpose

        return Ops
    if name == "PveopsError":
        from pveops.base.errors import PveopsError  # noqa: PLC0415 - lazy on purpose

        return PveopsError
    raise AttributeError(f"module 'pveops' has no attribute {name!r}")
