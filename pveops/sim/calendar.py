"""Calendar events as job schedules use them: ``daily``, ``*/15``, ``02:30``, ``mon..fri 21:00``, ``sat,sun 4:15``. All times are UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = {
    "minutely": "*:*",
    "hourly": "*:00",
    "daily": "00:00",
    "weekly": "mon 00:00",
    "monthly": "*-*-1 00:00",
    "yearly": "*-1-1 00:00",
    "annually": "*-1-1 00:00",
}
_HORIZON_DAYS = 366 * 5


@dataclass(frozen=True, slots=True)
class Calendar:
    """When an event happens: sets of weekdays (Monday 0), months, days, hours and minutes."""

    weekdays: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    hours: frozenset[int]
    minutes: frozenset[int]

    def _fits_day(self, day: datetime) -> bool:
        return day.weekday() in self.weekdays and day.month in self.months and day.day in self.days

    def next_s(self, after_s: float) -> float:
        """The first moment strictly after ``after_s`` (seconds since the epoch), itself a whole minute.

        Raises:
            ValueError: it never happens.
        """
        moment = datetime.fromtimestamp(after_s, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = moment.replace(hour=0, minute=0)
        for _ in range(_HORIZON_DAYS):
            if self._fits_day(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        candidate = day.replace(hour=hour, minute=minute)
                        if candidate >= moment:
                            return candidate.timestamp()
            day += timedelta(days=1)
        raise ValueError("the event never happens")


def _field(text: str, low: int, high: int) -> frozenset[int]:
    """One field: ``*``, ``*/15``, ``5``, ``1..5``, ``0/20``, or several with commas."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\*|\d+)(?:\.\.(\d+))?(?:/(\d+))?", part)
        if not match:
            raise ValueError(f"unable to parse '{part}'")
        first = low if match[1] == "*" else int(match[1])
        last = int(match[2]) if match[2] else high if match[1] == "*" or match[3] else first
        if not low <= first <= last <= high:
            raise ValueError(f"value '{part}' out of range")
        found.update(range(first, last + 1, int(match[3] or 1) or 1))
    return frozenset(found)


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dots, last = part.partition("..")
        names = [first[:3], (last if dots else first)[:3]]
        if any(name not in _DAYS for name in names):
            raise ValueError(f"unknown day '{part}'")
        begin, end = (_DAYS.index(name) for name in names)
        found.update(index % 7 for index in range(begin, (end if end >= begin else end + 7) + 1))
    return frozenset(found)


@lru_cache(maxsize=256)
def parse(text: str) -> Calendar:
    """The calendar of a schedule text.

    Raises:
        ValueError: it cannot be read.
    """
    words = _NAMES.get(text.strip(), text.strip()).split()
    if not words:
        raise ValueError("an empty schedule")
    weekdays, months, days = frozenset(range(7)), frozenset(range(1, 13)), frozenset(range(1, 32))
    hours, minutes = frozenset({0}), frozenset({0})
    for word in words:
        if re.match(r"[A-Za-z]", word):
            weekdays = _weekdays(word)
        elif "-" in word:
            _, month, day = ("*-" * (2 - word.count("-")) + word).split("-")
            months, days = _field(month, 1, 12), _field(day, 1, 31)
        elif ":" in word:
            hour, minute = word.split(":")[:2]
            hours, minutes = _field(hour, 0, 23), _field(minute, 0, 59)
        else:
            hours, minutes = frozenset(range(24)), _field(word, 0, 59)
    return Calendar(weekdays, months, days, hours, minutes)


def next_event(text: str, after_s: float) -> float:
    """The first time of the schedule after ``after_s``, seconds since the epoch.

    Raises:
        ValueError: the schedule cannot be read, or never happens.
    """
    return parse(text).next_s(after_s)


def events_between(text: str, after_s: float, until_s: float) -> list[float]:
    """Every time of the schedule in (after, until], seconds since the epoch."""
    calendar, found, moment = parse(text), [], after_s
    while (moment := calendar.next_s(moment)) <= until_s:
        found.append(moment)
    return found
