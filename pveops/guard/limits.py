"""Limits beside the policy: how much at once, how often, and when. ``limits.toml`` in the policy folder; its text is part of the policy's hash."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pveops.base.errors import ConfigError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ALWAYS: tuple[Day, ...] = _DAYS
_COUNT = Field(ge=1, le=1_000_000)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Blast(_Part):
    """Targets that one person changes on one cluster within ``window_s`` seconds count as one change; from ``bulk_targets`` on it is RED."""

    window_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    bulk_targets: Annotated[int, Field(ge=2, le=1000)] = 10


class Rate(_Part):
    """Most steps of one person on one cluster in an hour, and most proposals of one principal in a minute."""

    changes_per_hour: Annotated[int, _COUNT] = 5000
    proposals_per_minute: Annotated[int, _COUNT] = 240


class Concurrency(_Part):
    """Most runs under way that touch one node, or one storage."""

    per_node: Annotated[int, _COUNT] = 16
    per_storage: Annotated[int, _COUNT] = 16


class AutopilotBudget(_Part):
    """Most steps that run without a person's own approval (by standing rules), on one cluster."""

    changes_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    changes_per_day: Annotated[int, Field(ge=0, le=1_000_000)] = 100


class Window(_Part):
    """When changes are welcome: days and times of day in a zone; an end before its start is on the next day."""

    days: tuple[Day, ...] = _ALWAYS
    start: Annotated[time, Field(alias="from")]
    end: Annotated[time, Field(alias="to")]
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            raise ValueError(f"there is no time zone {value}") from err
        return value

    def open_at(self, now: datetime) -> bool:
        """Whether it is open."""
        here = now.astimezone(ZoneInfo(self.zone))
        at, today = here.time(), _DAYS[here.weekday()]
        if self.start <= self.end:
            return today in self.days and self.start <= at < self.end
        yesterday = _DAYS[(here - timedelta(days=1)).weekday()]
        return (today in self.days and at >= self.start) or (yesterday in self.days and at < self.end)


class Span(_Part):
    """A stretch of time; times without a zone are refused."""

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]

    @field_validator("start", "end")
    @classmethod
    def _zoned(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("a time without a zone; write 2026-12-20T00:00:00Z")
        return value.astimezone(UTC)

    def holds(self, now: datetime) -> bool:
        """Whether it is now."""
        return self.start <= now < self.end


class Freeze(Span):
    """Nothing changes meanwhile."""

    why: str = ""


class Maintenance(Span):
    """People work on these nodes meanwhile."""

    nodes: tuple[str, ...]


class Limits(_Part):
    """All limits. Nothing set: the values of the set homelab, every time is a change window."""

    blast: Blast = Blast()
    rate: Rate = Rate()
    concurrency: Concurrency = Concurrency()
    autopilot: AutopilotBudget = AutopilotBudget()
    window: tuple[Window, ...] = ()
    freeze: tuple[Freeze, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()

    def in_window(self, now: datetime) -> bool:
        """Whether a change window is open; always, where none is set."""
        return not self.window or any(window.open_at(now) for window in self.window)

    def frozen(self, now: datetime) -> Freeze | None:
        """The freeze that holds now."""
        return next((freeze for freeze in self.freeze if freeze.holds(now)), None)

    def under_maintenance(self, now: datetime) -> frozenset[str]:
        """Nodes that people work on now."""
        return frozenset(node for span in self.maintenance if span.holds(now) for node in span.nodes)


def parse_limits(text: str, where: str) -> Limits:
    """Limits from TOML.

    Raises:
        ConfigError: malformed, an unknown key, or a value out of bounds: the place is named.
    """
    try:
        return Limits.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"{where} is no valid TOML ({err})") from err
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{where}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from err
