"""Which backups are kept: the ``keep-…`` options of jobs and storages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pveops.sim.props import read_props

_GROUPS: dict[str, Callable[[datetime], object]] = {
    "keep-last": lambda moment: moment,
    "keep-hourly": lambda moment: (moment.date(), moment.hour),
    "keep-daily": lambda moment: moment.date(),
    "keep-weekly": lambda moment: moment.isocalendar()[:2],
    "keep-monthly": lambda moment: (moment.year, moment.month),
    "keep-yearly": lambda moment: moment.year,
}


def kept(times_s: Sequence[float], options: str) -> set[float]:
    """The moments (seconds since the epoch) of the backups that stay.

    Each option keeps the newest backup of so many hours, days, weeks …; later options look only at what is older than what earlier ones kept.
    Without options, or with ``keep-all``, everything stays.
    """
    limits = {key: int(value) for key, value in read_props(options).items() if value.isdigit()}
    if not any(limits.get(key) for key in _GROUPS) or limits.get("keep-all"):
        return set(times_s)
    newest_first = sorted(times_s, reverse=True)
    chosen: set[float] = set()
    for option, group in _GROUPS.items():
        covered = {group(datetime.fromtimestamp(moment_s, UTC)) for moment_s in chosen}
        seen: set[object] = set()
        for moment_s in newest_first:
            if len(seen) >= limits.get(option, 0):
                break
            label = group(datetime.fromtimestamp(moment_s, UTC))
            if moment_s not in chosen and label not in covered and label not in seen:
                seen.add(label)
                chosen.add(moment_s)
    return chosen
