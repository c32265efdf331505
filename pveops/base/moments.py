"""Times as people write them: ``2h`` (ago), ``now``, ``today``, ``2026-11-21T14:00Z``, aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pveops.base.units import parse_duration_s

Moment = str | float | datetime


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
        return datetime.fromtimestamp(given, UTC)
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
        raise ValueError(f"{given!r} is no time; write 2h (ago), now, or 2026-11-21T14:00Z") from err
