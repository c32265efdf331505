"""Tables of pveops in a notebook: columns by the names that code uses, values as people read them. The frame itself keeps plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pveops.present.html import Node, el, table_html, text

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 40
_MOST_COLUMNS = 24


def frame_table(frame: pd.DataFrame) -> Node:
    """A flat table of pveops as HTML; empty for any other, which pandas draws."""
    timed = str(frame.index.dtype).startswith("datetime64")
    names = [str(name) for name in frame.columns]
    flat = frame.columns.nlevels == 1 and len(set(names)) == len(names) and 0 < len(names) <= _MOST_COLUMNS
    if not frame.attrs.get("table") or not flat or not (timed or str(frame.index.dtype) == "int64"):
        return ""
    head = frame.head(_MOST_ROWS)
    columns: dict[str, list[Any]] = {"time": list(head.index)} if timed else {}
    for name, (_, column) in zip(names, head.items(), strict=True):
        values = zip(column.tolist(), column.isna().tolist(), strict=True)
        columns[name] = [None if absent else _short(name, value) for value, absent in values]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not rows:
        return el("p", text(f"No rows. Columns: {', '.join(columns)}."), class_="t3 sm")
    return table_html(list(columns), rows, caption=str(frame.attrs["table"]), most_rows=_MOST_ROWS, names=True, count=len(frame))


def _short(name: str, value: Any) -> Any:
    """A number without a unit in its name has six figures at most."""
    return f"{value:.6g}" if isinstance(value, float) and "_" not in name else value
