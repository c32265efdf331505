"""Questions to the ledger: who, what, when, why, which model, which prompt."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; an empty field asks for nothing.

    Attributes:
        kind: a kind (``step.intended``), or a family of them (``step``).
        model: author of the proposal as far as it is a model (``offline-grammar``).
        since, until: times as in ``at``; ``since`` counts, ``until`` does not.
        text: found anywhere in the record, whatever its case.
        limit: only the last so many; 0 for all.
    """

    kind: str = ""
    actor: str = ""
    proposal: str = ""
    correlation: str = ""
    model: str = ""
    since: str = ""
    until: str = ""
    text: str = ""
    limit: int = 0

    def fits(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is asked for. The model is known of a proposal's first record only; an index knows it of all."""
        at = str(record.get("at", ""))
        return (
            (not self.kind or of_kind(str(record.get("kind", "")), self.kind))
            and all(not wanted or record.get(name) == wanted for name, wanted in self.exact.items())
            and (not self.model or model_of(record) == self.model)
            and (not self.since or at >= self.since)
            and (not self.until or at < self.until)
            and self.says(record)
        )

    @property
    def exact(self) -> dict[str, str]:
        """Fields that are compared whole."""
        return {"actor": self.actor, "proposal": self.proposal, "correlation": self.correlation}

    def says(self, record: Mapping[str, Any]) -> bool:
        """Whether the record holds the text."""
        return not self.text or self.text.casefold() in json.dumps(record, ensure_ascii=False).casefold()

    def last(self, records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The last so many of these."""
        return list(deque(records, maxlen=self.limit or None))


class Lines(Protocol):
    """What an index reads: finished lines of the ledger."""

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Lines from a byte on, each with its place."""
        ...

    def line(self, start: int, length: int) -> bytes:
        """The bytes at a place."""
        ...


class Index(Protocol):
    """Finds records without reading everything. It holds nothing that is not in the ledger and can be made anew at any time."""

    def find(self, ledger: Lines, query: Query) -> list[dict[str, Any]]:
        """Records that answer a query, in order."""
        ...

    def span(self, ledger: Lines, proposal: str) -> tuple[int, ...]:
        """Numbers of the first and the last record of a proposal; empty where it has none."""
        ...


def of_kind(kind: str, wanted: str) -> bool:
    """Whether a kind is the wanted one or of its family."""
    return kind == wanted or kind.startswith(f"{wanted}.")


def model_of(record: Mapping[str, Any]) -> str:
    """The model that drafted what this record is about, where the record says so."""
    author = str(_data(record).get("author", ""))
    return author.removeprefix("model:") if author.startswith("model:") else ""


def prompt_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of the prompt that the model was given, where the record says so."""
    return str(_data(record).get("prompt_sha256", ""))


def what(record: Mapping[str, Any]) -> str:
    """What a record is about, in one line for people."""
    data = _data(record)
    plan = data.get("plan")
    said = plan.get("summary") if isinstance(plan, Mapping) else ""
    return str(said or next((data[key] for key in ("call", "text", "what", "status", "upid", "verb") if data.get(key)), ""))


def why(record: Mapping[str, Any]) -> str:
    """The reason that a record gives."""
    data = _data(record)
    return str(data.get("why") or data.get("reason") or "")


COLUMNS = ("seq", "at", "who", "kind", "what", "why", "proposal", "model", "prompt_sha256", "correlation", "hash")
"""Of an export for people."""


def rows(records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Records as rows of ``COLUMNS``. Later records of a proposal inherit its model and prompt."""
    drafted: dict[str, tuple[str, str]] = {}
    for record in records:
        proposal = str(record.get("proposal", ""))
        by = model_of(record), prompt_of(record)
        if proposal and by[0]:
            drafted[proposal] = by
        model, prompt = by if by[0] else drafted.get(proposal, ("", ""))
        yield {
            "seq": record["seq"],
            "at": record.get("at", ""),
            "who": record.get("actor", ""),
            "kind": record["kind"],
            "what": what(record),
            "why": why(record),
            "proposal": proposal,
            "model": model,
            "prompt_sha256": prompt,
            "correlation": record.get("correlation", ""),
            "hash": record["hash"],
        }


def _data(record: Mapping[str, Any]) -> Mapping[str, Any]:
    data = record.get("data")
    return data if isinstance(data, Mapping) else {}
