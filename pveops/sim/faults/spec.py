"""What a kind of fault is: its parameters with units, where it sits, what is behind it, and what puts it right."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pveops.base.errors import InputError
from pveops.sim.faults.weather import Weather
from pveops.sim.state import noise
from pveops.sim.world import World

if TYPE_CHECKING:
    from pveops.sim.certs import Desk

Values = dict[str, Any]
Repairer = Literal["api", "hand"]
"""Who can put it right: a client of the API, or only somebody who stands before the machine (``fault clear`` stands for that hand)."""

_SHOWN = 12


class Stage(NamedTuple):
    """What faults act on; ``desk`` shows certificates and is there only while a server runs."""

    world: World
    weather: Weather
    desk: Desk | None = None


Pick = Callable[[World, Mapping[str, Any]], Sequence[Any]]
"""What a parameter may be, in the world as it is, given the parameters before it; the default comes from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a kind of fault.

    Args:
        name: how it is given.
        doc: what it means.
        unit: of a number; empty for names.
        default: the value when none is given; without one it is chosen by the seed from what ``pick`` allows.
        low: the least number.
        high: the greatest number.
        choices: the words that are allowed.
        form: what a text must look like, as a regular expression; ``regex`` for one that is a regular expression itself.
        pick: the things in the world that are allowed.
        what: what ``pick`` allows, in words.
    """

    name: str
    doc: str
    unit: str = ""
    default: str | float | int | None = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    form: str = ""
    pick: Pick | None = None
    what: str = ""

    def read(self, kind: str, given: Any, world: World, before: Mapping[str, Any]) -> Any:
        """The value, checked.

        Raises:
            InputError: it is not allowed, with what is.
        """
        if self.pick is not None:
            return self._thing(kind, given, world, before)
        if self.choices:
            if given not in self.choices:
                raise InputError(f"{self.name} of {kind} is {given!r}.", hint=f"Allowed: {', '.join(self.choices)}.")
            return given
        return self._number(kind, given) if self.low is not None else self._text(kind, str(given))

    def _text(self, kind: str, given: str) -> str:
        try:
            fits = re.compile(given) if self.form == "regex" else re.fullmatch(self.form or ".*", given)
        except re.error as err:
            raise InputError(f"{self.name} of {kind} is {given!r}: {err}.", hint="It must be a regular expression.") from err
        if fits is None:
            raise InputError(f"{self.name} of {kind} is {given!r}.", hint=f"It must look like {self.form}.")
        return given

    def _number(self, kind: str, given: Any) -> float | int:
        whole = isinstance(self.default, int)
        try:
            value = int(str(given)) if whole else float(str(given))
        except (TypeError, ValueError) as err:
            raise InputError(
                f"{self.name} of {kind} is {given!r}.", hint=f"It must be a {'whole ' if whole else ''}number{self._range()}."
            ) from err
        if not (self.low or 0) <= value <= (math.inf if self.high is None else self.high):
            raise InputError(f"{self.name} of {kind} is {value:g}.", hint=f"It must be a number{self._range()}.")
        return value

    def _range(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f" from {self.low:g}" + (f" to {self.high:g}" if self.high is not None else " on") + unit

    def _thing(self, kind: str, given: Any, world: World, before: Mapping[str, Any]) -> Any:
        allowed = list(self.pick(world, before)) if self.pick is not None else []
        if given is None:
            if not allowed:
                raise InputError(f"{kind} finds no {self.what} in this cluster.", hint="See `pveops sim fault kinds` for what it needs.")
            return allowed[noise.whole(0, len(allowed) - 1, world.cluster.seed, "fault", kind, self.name)]
        for one in allowed:
            if str(one) == str(given):
                return one
        shown = ", ".join(str(one) for one in allowed[:_SHOWN]) + (" …" if len(allowed) > _SHOWN else "")
        raise InputError(f"{self.name} of {kind} is {given!r}, which is no {self.what}.", hint=f"Possible now: {shown or 'nothing'}.")


class Fault(ABC):
    """A fault that is under way. Kinds are subclasses, and their docstring says what happens; a new object is made for each fault.

    Args:
        stage: what it acts on.
        values: its parameters, checked.
    """

    name: ClassVar[str]
    cause: ClassVar[str]
    """What is behind it, for whoever judges a diagnosis."""
    sees: ClassVar[str]
    """What a client of the API sees."""
    repair: ClassVar[str]
    """The right action."""
    by: ClassVar[Repairer] = "api"
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    def __init__(self, stage: Stage, values: Values) -> None:
        self.world = stage.world
        self.cluster = stage.world.cluster
        self.weather = stage.weather
        self.desk = stage.desk
        self.values = values
        self.since_s = stage.world.cluster.now_s
        self.over = False
        """Set once it has ended."""

    @classmethod
    def doc(cls) -> str:
        """What happens, in one sentence."""
        return (cls.__doc__ or "").strip()

    @property
    @abstractmethod
    def component(self) -> str:
        """Where it sits: ``node/pve1``, ``qemu/101``, ``storage/local`` and so on."""

    @abstractmethod
    def begin(self) -> None:
        """Bring it about."""

    @abstractmethod
    def healed(self) -> bool:
        """Whether somebody has done the right thing."""

    @abstractmethod
    def undo(self) -> None:
        """Put things right by hand; called when it is cleared."""

    def watch(self) -> None:  # noqa: B027 - most have nothing to look after
        """Look after it while it lasts; called after whatever happens."""

    def settle(self) -> None:  # noqa: B027 - most have nothing to forget
        """Forget what kept it going; called once it is over, however that came."""

    @classmethod
    def read(cls, given: Mapping[str, Any], world: World) -> Values:
        """The parameters, checked and completed.

        Raises:
            InputError: one is unknown or not allowed.
        """
        names = [parameter.name for parameter in cls.parameters]
        for name in given:
            if name not in names:
                raise InputError(f"{cls.name} has no parameter {name!r}.", hint=f"It takes: {', '.join(names) or 'none'}.")
        values: Values = {}
        for parameter in cls.parameters:
            value = given.get(parameter.name, parameter.default)
            values[parameter.name] = parameter.read(cls.name, value, world, values)
        return values
