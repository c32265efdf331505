"""Parameter verification: from the schema of one method to a function that checks a request and gives typed values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pveops.sim.contract.formats import rule_for
from pveops.sim.contract.formats_net import Rule
from pveops.sim.contract.named_props import NAMED_PROPS
from pveops.sim.contract.schema import Method, Spec
from pveops.sim.errors import bad_parameters

MISSING = "property is missing and it is not optional"
EXTRA = "property is not defined in schema and the schema does not allow additional properties"

_NEXT_ERROR = "\\n"
"""Between two texts about one parameter: a backslash and an n, as the real API joins them."""

Check = Callable[[Any], Any]
"""Takes the raw value, returns the typed one, raises ``ValueError`` with what is wrong."""

_PERL_GROUP = re.compile(r"\(\?\^([a-z]*):")
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?\d*\.?\d+([eE][+-]?\d+)?")
_NUMBERED_LIMITS = {
    "acmedomain": 5,
    "dev": 255,
    "hostpci": 15,
    "ide": 3,
    "ipconfig": 31,
    "link": 7,
    "mp": 255,
    "net": 31,
    "numa": 7,
    "parallel": 2,
    "sata": 5,
    "scsi": 30,
    "serial": 3,
    "unused": 255,
    "usb": 13,
    "virtio": 15,
    "virtiofs": 9,
}
"""The highest number of a numbered parameter such as ``net0``."""


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as Python reads it: Perl's ``(?^i:`` only names the flags of a group."""

    def group(match: re.Match[str]) -> str:
        return "(?i:" if "i" in match[1] else "(?:"

    return re.compile(_PERL_GROUP.sub(group, pattern), re.ASCII)


def _perl_name(value: Any) -> str:
    if isinstance(value, bool):
        return "JSON::PP::Boolean"
    return {"list": "ARRAY", "dict": "HASH"}.get(type(value).__name__, f"'{value}'")


def _boolean(value: Any) -> int:
    if value is True or value is False:
        return int(value)
    if str(value) in ("0", "1") and not isinstance(value, (list, dict)):
        return int(value)
    raise ValueError(f"type check ('boolean') failed - got {_perl_name(value)}")


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value)
    if isinstance(value, (bool, list, dict)) or not _INTEGER.fullmatch(text):
        raise ValueError(f"type check ('integer') failed - got {_perl_name(value)}")
    return int(text)


def _number(value: Any) -> float:
    text = str(value)
    if isinstance(value, (bool, list, dict)) or not _NUMBER.fullmatch(text):
        raise ValueError(f"type check ('number') failed - got {_perl_name(value)}")
    number = float(text)
    return int(number) if number.is_integer() else number


def _string(value: Any) -> str:
    if isinstance(value, (bool, list, dict)):  # every refusal of a value is a ValueError here
        raise ValueError(f"type check ('string') failed - got {_perl_name(value)}")  # noqa: TRY004 - as above
    return str(value)


def _check_format(name: str, form: Any) -> Rule | None:
    """The rule of a format: named, a property string by name, or a property string spelled out in the schema."""
    keys = form if isinstance(form, dict) else NAMED_PROPS.get(form)
    if keys is None:
        return rule_for(form)
    return PropsCheck(name, keys)


class Limit:
    """What a typed value must not be, with the words for it."""

    __slots__ = ("_broken", "words")

    def __init__(self, broken: Callable[[Any], bool], words: str) -> None:
        self._broken = broken
        self.words = words

    def check(self, value: Any) -> None:
        """Raise ``ValueError`` when the value breaks the limit."""
        if self._broken(value):
            raise ValueError(self.words)


def _plain(limit: Any) -> Any:
    """A limit as a number: the schema has some as text."""
    return _number(limit) if isinstance(limit, str) else limit


def _limits(spec: Spec, *, number: bool) -> list[Limit]:
    """Bounds of a number, or of the length of a text."""
    found: list[Limit] = []
    low, high = ("minimum", "maximum") if number else ("minLength", "maxLength")
    if high in spec:
        most = _plain(spec[high])
        if number:
            found.append(Limit(lambda value: bool(value > most), f"value must have a maximum value of {most}"))
        else:
            found.append(Limit(lambda value: len(value) > most, f"value may only be {most} characters long"))
    if low in spec:
        least = _plain(spec[low])
        if number:
            found.append(Limit(lambda value: bool(value < least), f"value must have a minimum value of {least}"))
        else:
            found.append(Limit(lambda value: len(value) < least, f"value must be at least {least} characters long"))
    return found


def compile_check(name: str, spec: Spec) -> Check:
    """The check of one parameter. ``name`` is what property-string errors begin with."""
    kind = spec.get("type", "string")
    if kind == "array":
        return _compile_array(name, spec)
    convert: Callable[[Any], Any] = {"boolean": _boolean, "integer": _integer, "number": _number}.get(kind, _string)
    rule = _check_format(name, spec["format"]) if "format" in spec else None
    pattern = _compile_pattern(spec["pattern"]) if "pattern" in spec else None
    choices = [str(item) for item in spec.get("enum") or ()]
    limits = _limits(spec, number=kind in ("integer", "number"))

    def check(value: Any) -> Any:
        typed = convert(value)
        if rule is not None:
            try:
                rule(str(typed))
            except ValueError as err:
                raise ValueError(f"invalid format - {err}\n") from err
        if pattern is not None and not pattern.fullmatch(typed):
            raise ValueError("value does not match the regex pattern")
        for limit in limits:
            limit.check(typed)
        if choices and str(typed) not in choices:
            raise ValueError(f"value '{typed}' does not have a value in the enumeration '{', '.join(choices)}'")
        return typed

    return check


class ItemErrors(ValueError):  # noqa: N818 - a collection of errors, raised as one
    """Errors of single items of an array: name such as ``map[0]`` to text."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("")
        self.errors = errors


def _compile_array(name: str, spec: Spec) -> Check:
    items = spec.get("items", {"type": "string"})

    def check(value: Any) -> list[Any]:
        if isinstance(value, dict):
            raise ValueError("type check ('array') failed")  # noqa: TRY004 - every refusal of a value is a ValueError here
        values = value if isinstance(value, list) else [value]
        typed, errors = [], {}
        for index, item in enumerate(values):
            label = f"{name}[{index}]"
            try:
                typed.append(compile_check(label, items)(item))
            except ValueError as err:
                errors[label] = str(err)
        if errors:
            raise ItemErrors(errors)
        return typed

    return check


class PropsCheck:
    """Verifies a property string against its keys."""

    def __init__(self, name: str, keys: dict[str, Spec]) -> None:
        self._name = name
        self._keys = keys
        self._default = next((key for key, spec in keys.items() if spec.get("default_key")), "")
        self._checks = {key: compile_check(f"{name}.{key}", spec) for key, spec in keys.items() if "alias" not in spec}

    def _split(self, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not equals or not key:
                if not self._default or self._default in found or not part or equals:
                    raise ValueError("missing key in comma-separated list property")
                key, value = self._default, part
            alias = self._keys.get(key, {})
            if "keyAlias" in alias:
                found[alias["keyAlias"]] = key
            key = alias.get("alias", key)
            if key in found:
                raise ValueError(f"duplicate key in comma-separated list property: {key}")
            found[key] = value
        return found

    def __call__(self, text: str) -> None:
        """Raise ``ValueError`` with every broken key, one line each."""
        values = self._split(text) if text else {}
        errors: dict[str, str] = {}
        for key, value in values.items():
            check = self._checks.get(key)
            try:
                if check is None:
                    raise ValueError(EXTRA)
                check(value)
            except ValueError as err:
                errors[key] = str(err)
        for key, spec in self._keys.items():
            if key not in values and "alias" not in spec and not spec.get("optional"):
                errors[key] = MISSING
        if errors:
            raise ValueError("format error\n" + "\n".join(f"{self._name}.{key}: {errors[key]}" for key in sorted(errors)))


class Verifier:
    """Checks the parameters of one method and types them."""

    def __init__(self, method: Method) -> None:
        self._specs = method.parameters
        self._open = method.open_ended
        self._checks: dict[str, Check | None] = {}
        self._required = tuple(name for name, spec in method.parameters.items() if not spec.get("optional") and "[n]" not in name)
        self._requires = tuple((name, spec["requires"]) for name, spec in method.parameters.items() if "requires" in spec)
        self._numbered = {name[:-3] for name in method.parameters if name.endswith("[n]")}

    def knows(self, name: str) -> bool:
        """Whether there is a parameter of that name."""
        return self._check_for(name) is not None

    def _check_for(self, name: str) -> Check | None:
        """The check of a parameter, compiled when it is first needed: most requests use few of many."""
        if name not in self._checks:
            self._checks[name] = self._compile(name)
        return self._checks[name]

    def _compile(self, name: str) -> Check | None:
        spec = self._specs.get(name)
        if spec is None and name[-1:].isdigit():
            stem = name.rstrip("0123456789")
            number = name[len(stem) :]
            if stem in self._numbered and str(int(number)) == number and int(number) <= _NUMBERED_LIMITS.get(stem, 0):
                spec = self._specs[f"{stem}[n]"]
        return compile_check(name, spec) if spec is not None else None

    def __call__(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The typed parameters; JSON null counts as not given.

        Raises:
            RefusedError: 400 with a text per broken parameter.
        """
        typed: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for name, value in raw.items():
            check = self._check_for(name) if name else None
            if check is None:
                if not self._open:
                    errors[name] = EXTRA
                continue
            if value is None:
                continue
            try:
                typed[name] = check(value)
            except ItemErrors as err:
                errors.update(err.errors)
            except ValueError as err:
                errors[name] = str(err)
        self._look_for_gaps(raw, errors)
        if errors:
            raise bad_parameters(errors)
        return typed

    def _look_for_gaps(self, raw: dict[str, Any], errors: dict[str, str]) -> None:
        for name in self._required:
            if raw.get(name) is None:
                errors[name] = MISSING
        for name, other in self._requires:
            if name in raw and other not in raw:
                text = f"missing property required by '{name}'"
                errors[other] = f"{errors[other]}{_NEXT_ERROR}{text}" if other in errors else text
