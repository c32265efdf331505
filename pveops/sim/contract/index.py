"""Index methods: the schema itself says what they answer, one row per fixed part below the path."""

from __future__ import annotations

import re
from typing import Any

from pveops.sim.contract.schema import Method, Schema
from pveops.sim.methods.table import Call, Entry, Handler

_LINK = re.compile(r"\{(\w+)\}")


def _children(schema: Schema, path: str) -> list[str]:
    prefix = path.rstrip("/") + "/"
    parts = (other[len(prefix) :].split("/")[0] for other in schema.paths if other.startswith(prefix))
    return list(dict.fromkeys(parts))


def _handler(key: str, names: list[str]) -> Handler:
    def answer(call: Call) -> list[dict[str, Any]]:
        return [{key: name} for name in names]

    return answer


def _index_key(method: Method) -> str:
    """The key of index rows, empty where the method is no index."""
    links = method.returns.get("links") or []
    match = _LINK.fullmatch(links[0]["href"]) if links else None
    return match[1] if match and method.verb == "GET" else ""


def index_entries(schema: Schema) -> dict[tuple[str, str], Entry]:
    """A handler for every method that lists only what lies below it."""
    found: dict[tuple[str, str], Entry] = {}
    for method in schema.methods.values():
        key = _index_key(method)
        names = _children(schema, method.path) if key else []
        if names and not any(name.startswith("{") for name in names):
            found[method.key] = Entry("reads", _handler(key, names), index=True)
    return found
