"""The registry: every tool once, checked when it is added."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pveops.base.errors import InputError, UnknownName
from pveops.model.plan import Plan
from pveops.model.resources import Answer, Gap
from pveops.tools.ports import Ports

Kind = Literal["read", "plan"]
Status = Literal["ok", "partial", "no_data", "error"]
_NAME = re.compile(r"^[a-z]+(?:\.[a-z]+(?:-[a-z]+)*)$")


class Args(BaseModel):
    """Arguments of a tool. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class NoArgs(Args):
    """A tool without arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a read tool found.

    Attributes:
        status: ``ok``; ``partial`` with its gaps; ``no_data`` when the search was complete and found nothing; ``error``.
        text: one sentence with the answer.
        rows: the answer as records of plain values, with units in the keys.
        searched: what was asked, where.
        read_at: when.
    """

    status: Status
    text: str
    rows: tuple[Mapping[str, Any], ...] = ()
    gaps: tuple[Gap, ...] = ()
    searched: str = ""
    read_at: datetime
    order: tuple[str, ...] = ()
    """Columns in the order a table shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool.

    Attributes:
        name: ``guest.migrate``: what it is about, and the verb.
        kind: ``read`` returns a ``ToolResult``, ``plan`` a ``Plan``.
        args: a pydantic model; its fields, in order, are also the positional arguments of the CLI.
        run: ``(args, ports) -> ToolResult | Plan``.
        privileges: what the token needs in Proxmox VE, ``VM.Audit`` …
        asks: phrases that the offline grammar understands, for help texts.
    """

    _KINDS: ClassVar[tuple[str, ...]] = ("read", "plan")

    name: str
    kind: Kind
    title: str
    doc: str
    args: type[Args]
    run: Callable[[Any, Ports], Any] = field(repr=False)
    privileges: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return self.args.model_json_schema()

    def parse(self, given: Mapping[str, Any]) -> Args:
        """Checked arguments.

        Raises:
            InputError: a name or value does not fit; every misfit is named.
        """
        try:
            return self.args.model_validate(dict(given))
        except ValidationError as err:
            missing = [str(item["loc"][0]) for item in err.errors(include_url=False) if item["type"] == "missing" and item["loc"]]
            if missing:
                raise InputError(f"{self.name} needs {' and '.join(missing)}.", hint=f"It takes: {self._takes()}.") from err
            misfits = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'arguments'}: {item['msg']}" for item in err.errors(include_url=False)
            )
            raise InputError(f"{self.name} does not take these arguments: {misfits}.", hint=f"It takes: {self._takes()}.") from err

    def _takes(self) -> str:
        return ", ".join(f"{name}{'' if info.is_required() else '?'}" for name, info in self.args.model_fields.items()) or "none"


class Registry:
    """All tools by name."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Add a tool.

        Raises:
            ValueError: its name is taken or malformed, it lacks documentation, an argument has no description, or its function does not take
                ``(args, ports)``: found at start-up, not when somebody calls it.
        """
        if not _NAME.match(tool.name) or tool.name in self._tools:
            raise ValueError(f"the tool name {tool.name!r} is malformed or taken")
        if not tool.doc.strip() or not tool.title.strip():
            raise ValueError(f"{tool.name} has no documentation")
        undocumented = [name for name, info in tool.args.model_fields.items() if not info.description]
        if undocumented:
            raise ValueError(f"{tool.name}: arguments without a description: {', '.join(undocumented)}")
        if list(inspect.signature(tool.run).parameters) != ["args", "ports"]:
            raise ValueError(f"{tool.name}: its function must take (args, ports)")
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool:
        """A tool by name.

        Raises:
            UnknownName: there is none; the hint lists those that sound like it.
        """
        found = self._tools.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._tools, n=3, cutoff=0.5)
            raise UnknownName(
                f"There is no tool called {name}.",
                hint=f"Perhaps {', '.join(near)}?" if near else "`pveops tools ls` shows all of them.",
            )
        return found

    def __iter__(self) -> Any:
        return iter(sorted(self._tools.values(), key=lambda tool: tool.name))

    def __len__(self) -> int:
        return len(self._tools)

    def read(self, name: str, given: Mapping[str, Any], ports: Ports) -> ToolResult:
        """Run a read tool.

        Raises:
            InputError: wrong arguments, or it is a plan tool.
        """
        tool = self.get(name)
        if tool.kind != "read":
            raise InputError(f"{name} changes something: it makes a plan.", hint="Propose it.")
        result = tool.run(tool.parse(given), ports)
        if not isinstance(result, ToolResult):
            raise TypeError(f"{name} returned {type(result).__name__}")
        return result

    def plan(self, name: str, given: Mapping[str, Any], ports: Ports) -> Plan:
        """Run a plan tool.

        Raises:
            InputError: wrong arguments, or it is a read tool.
        """
        tool = self.get(name)
        if tool.kind != "plan":
            raise InputError(f"{name} only reads; there is nothing to plan.")
        plan = tool.run(tool.parse(given), ports)
        if not isinstance(plan, Plan):
            raise TypeError(f"{name} returned {type(plan).__name__}")
        return plan


def result_of(
    answer: Answer[Any], rows: Sequence[Mapping[str, Any]], *, text: str, none: str, searched: str = "", order: Sequence[str] = ()
) -> ToolResult:
    """A result from rows and the completeness of the answer they came from."""
    status: Status = "partial" if answer.partial else "ok" if rows else "no_data"
    said = text if rows else none
    if answer.partial:
        said += f" Not seen: {'; '.join(dict.fromkeys(f'{gap.what} ({gap.why})' for gap in answer.gaps))}."
    return ToolResult(
        status=status,
        text=said,
        rows=tuple(rows),
        gaps=answer.gaps,
        searched=searched or answer.source,
        read_at=answer.read_at,
        order=tuple(order),
    )
