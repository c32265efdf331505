"""Model objects to JSON and back, strictly: an unknown or missing field is an error, never a guess."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from pveops.base.canon import digest
from pveops.base.errors import InputError

T = TypeVar("T")

STRICT = {"extra": "forbid"}
"""Set as ``__pydantic_config__`` by the types that cross a process boundary."""


@lru_cache(maxsize=64)
def _adapter(cls: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type[Any]", cls))


def encode(value: Any) -> dict[str, Any]:
    """The JSON-ready form of a model object."""
    return cast("dict[str, Any]", _adapter(cast("Hashable", type(value))).dump_python(value, mode="json"))


def decode(cls: type[T], data: Any) -> T:
    """The model object of a JSON value.

    Raises:
        InputError: the value does not have the form; the first misfit is named.
    """
    try:
        return cast("T", _adapter(cast("Hashable", cls)).validate_python(data))
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the value"
        raise InputError(f"This is no {cls.__name__}: {where}: {first['msg']}.", details={"where": where}) from err


def digest_of(value: Any) -> str:
    """SHA-256 over the canonical JSON of a model object."""
    return digest(encode(value))
