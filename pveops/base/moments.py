"""Times as people write them: ``2h`` (ago), ``now``, ``today``, ``2026-11-21T14:00Z``, aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pveops.base.units import parse_duration_s

Moment = str | float | datetime
_EARLIEST_S, _LATEST_S = 1e8, 4e9
"""1973 and 2096: a number outside is a slip, such as 5 for the last five minutes."""
_WRITE = "write 2h (ago), now, or 2026-11-21T14:00Z"


def parse_moment(given: Moment, now: datetime) -> datetime:
    """The aware UTC time that is meant: ``now``, a duration back from ``now``, an ISO time with its zone, Unix seconds, a datetime.

    ``today`` and ``yesterday`` are their midnights in UTC.

    Raises:
        ValueError: it is no time, or has no zone.
    """
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError(f"{given.isoformat()} has no time zone; use datetime.now(UTC), or write 2h")
        return given.astimezone(UTC)
    if isinstance(given, (int, float)):
        if not _EARLIEST_S <= given <= _LATEST_S:
            raise ValueError(f"{given:g} is no time in Unix seconds; {_WRITE}")
        return datetime.fromtimestamp(given, UTC)
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no time; {_WRITE}")  # noqa: TRY004 - as of every text that is none
    return _written(given, now)


def _written(given: str, now: datetime) -> datetime:
    if given == "now":
        return now
    if given in ("today", "yesterday"):
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if given == "today" else midnight - timedelta(days=1)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        pass
    else:
        return parse_moment(moment, now)
    try:
        return now - timedelta(seconds=parse_duration_s(given.removesuffix(" ago")))
    except ValueError as err:
        raise ValueError(f"{err}" if "longer" in str(err) else f"{given!r} is no time; {_WRITE}") from err
