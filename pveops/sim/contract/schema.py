"""The facts about the real API, as shipped: paths, verbs, parameters, permissions, return shapes. Read once, compiled on first use."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import orjson

VERBS = ("GET", "POST", "PUT", "DELETE")
DATA_FILE = "schema-9.2.json.z"

Spec = dict[str, Any]
"""One parameter, as the schema describes it: type, optional, minimum, maximum, enum, pattern, format …"""


@dataclass(frozen=True, slots=True)
class Method:
    """One of the 675 methods: a verb on a path template."""

    verb: str
    path: str
    parameters: dict[str, Spec]
    open_ended: bool
    permissions: dict[str, Any] | None
    allow_token: bool
    returns: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Verb and path template, the name of the method everywhere in the simulator."""
        return self.verb, self.path


@dataclass(frozen=True, slots=True)
class Schema:
    """All methods by verb and path template."""

    version: str
    methods: dict[tuple[str, str], Method]

    @property
    def paths(self) -> list[str]:
        """Every path template once, in order."""
        return list(dict.fromkeys(path for _, path in self.methods))


def _method(verb: str, path: str, facts: dict[str, Any]) -> Method:
    parameters = facts.get("parameters", {})
    return Method(
        verb=verb,
        path=path,
        parameters=parameters.get("properties", {}),
        open_ended=parameters.get("additionalProperties") != 0,
        permissions=facts.get("permissions"),
        allow_token=bool(facts.get("allowtoken")),
        returns=facts.get("returns", {}),
    )


@cache
def load() -> Schema:
    """The shipped schema, read once."""
    document = orjson.loads(zlib.decompress(resources.files("pveops.sim").joinpath("data", DATA_FILE).read_bytes()))
    methods = {(verb, path): _method(verb, path, facts) for path, verbs in document["paths"].items() for verb, facts in verbs.items()}
    return Schema(version=document["meta"]["version"], methods=methods)
