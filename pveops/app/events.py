"""What people point at when they ask what happened around it: a time, a task id, a row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pveops.app.asked import moment_of
from pveops.base.errors import InputError
from pveops.base.moments import Moment
from pveops.model.tasks import Upid

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader

    Event = Moment | Mapping[str, Any] | pd.Series[Any]


def span_of(event: Event, reader: Reader, clock: Clock) -> tuple[datetime, datetime]:
    """When it began and ended; a task that runs ends now, a time is both.

    Raises:
        InputError: it is no time, no task id and no row that holds one.
        TransportError, ApiError: the cluster does not tell how long the task ran.
    """
    if isinstance(event, str) and event.startswith("UPID:"):
        return _of_task(Upid.parse(event), reader, clock)
    if isinstance(event, (str, int, float, datetime)):
        moment = moment_of(event, clock)
        return moment, moment
    row = {str(key): value for key, value in event.items()}
    for key in ("upid", "ref"):
        if str(row.get(key, "")).startswith("UPID:"):
            return _of_task(Upid.parse(str(row[key])), reader, clock)
    for key in ("time", "started", "created", "first"):
        if isinstance(row.get(key), datetime):
            moment = moment_of(row[key], clock)
            return moment, moment
    raise InputError("That is no event.", hint="Give a row of ops.tasks() or ops.timeline(), a task id, or a time.")


def _of_task(upid: Upid, reader: Reader, clock: Clock) -> tuple[datetime, datetime]:
    listed = reader.tasks(node=upid.node, since=upid.started - timedelta(seconds=2), limit=5000)
    ended = next((task.ended for task in listed.rows if task.upid.text == upid.text), upid.started)
    return upid.started, ended or clock.now()
