"""Plan tools: tags and settings of guests. Each carries the configuration's digest, so that Proxmox VE refuses it where somebody was quicker."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from pveops.base.errors import InputError
from pveops.base.units import fmt_bytes
from pveops.model.options import OPTIONS, Option
from pveops.model.plan import Change, Fact, FieldValue, Need, Plan, Step, WireCall
from pveops.tools.library.look import Look
from pveops.tools.library.plans import Guests, looks_of, plan_of, plan_tool
from pveops.tools.ports import Ports
from pveops.tools.registry import Args

_TAG = re.compile(r"^[a-z0-9_][a-z0-9_.+-]*$")
_STARTUP = re.compile(r"^(?:order=)?\d+(?:,(?:up|down)=\d+)*$|^(?:up|down)=\d+(?:,(?:up|down)=\d+)*$")
_EXPECTED_S = 2
_SETTLE_S = 30


class TagArgs(Args):
    """Which guests, and which tags."""

    guest: Guests
    add: Annotated[str, Field(description="Tags to put on, parted by commas")] = ""
    remove: Annotated[str, Field(description="Tags to take off, parted by commas")] = ""


class ConfigArgs(Args):
    """Which guests, and their settings from then on. What is not named stays as it is."""

    guest: Guests
    cores: Annotated[int | None, Field(ge=1, le=512, description="CPU cores (of each socket)")] = None
    sockets: Annotated[int | None, Field(ge=1, le=8, description="CPU sockets of a virtual machine")] = None
    memory_mib: Annotated[int | None, Field(ge=16, le=8 << 20, description="Memory in MiB")] = None
    swap_mib: Annotated[int | None, Field(ge=0, le=8 << 20, description="Swap of a container in MiB")] = None
    onboot: Annotated[bool | None, Field(description="Start with the node: true or false")] = None
    startup: Annotated[str | None, Field(max_length=60, description="Order and delays in seconds: order=2,up=30,down=60")] = None
    description: Annotated[str | None, Field(max_length=8000, description="Notes on it")] = None
    protection: Annotated[bool | None, Field(description="Refuse to remove it or its disks: true or false")] = None


def set_tags(args: TagArgs, ports: Ports) -> Plan:
    """Put tags on guests, or take them off. Taking off a tag that guards a guest (pveops-…) is a destructive change."""
    add, remove = _tags(args.add), _tags(args.remove)
    both = sorted(set(add) & set(remove))
    if both or not (add or remove):
        raise InputError(
            f"{', '.join(both)} cannot be put on and taken off at once." if both else "Which tags?", hint="Name them in add or remove."
        )
    looks = looks_of(args.guest, ports)
    after = {look.guest.vmid: tuple(sorted({*_has(look), *add} - set(remove))) for look in looks}
    same = [look.guest.label for look in looks if after[look.guest.vmid] == _has(look)]
    if same:
        raise InputError(f"{', '.join(same)} would keep the tags it has.", hint="Leave it out." if len(looks) > 1 else "")
    steps = [_tag_step(look, f"s{number}", after[look.guest.vmid]) for number, look in enumerate(looks, start=1)]
    changes = [
        Change(what=f"{look.guest.label}, tags", before=", ".join(_has(look)) or "none", after=", ".join(after[look.guest.vmid]) or "none")
        for look in looks
    ]
    return plan_of("guest.set-tags", args, ports, looks, steps, "Tag", "change of tags", changes, "Put the old tags back")


def set_config(args: ConfigArgs, ports: Ports) -> Plan:
    """Change settings of guests: CPU, memory, start with the node, notes, protection. A running virtual machine takes CPU and memory at its next start."""
    given = {option: value for option in OPTIONS if (value := getattr(args, option.name)) is not None}
    if not given:
        raise InputError("Which settings?", hint=f"Name at least one of {', '.join(option.name for option in OPTIONS)}.")
    if args.startup and not _STARTUP.match(args.startup):
        raise InputError(f"{args.startup!r} is no start order.", hint="For example order=2,up=30,down=60; times are in seconds.")
    looks = looks_of(args.guest, ports)
    steps, changes = [], []
    for number, look in enumerate(looks, start=1):
        foreign = [option.name for option in given if look.guest.kind not in option.unset]
        if foreign:
            kind = "a container" if look.guest.kind == "lxc" else "a virtual machine"
            raise InputError(f"{look.guest.label} is {kind}, which has no {' and no '.join(foreign)}.", hint="Leave it out.")
        moved = {option: value or None if option.of is str else value for option, value in given.items()}
        moved = {option: value for option, value in moved.items() if look.value(option.field) != value}
        if not moved:
            raise InputError(f"{look.guest.label} is set like this already.", hint="Leave it out." if len(looks) > 1 else "")
        steps.append(_config_step(look, f"s{number}", moved))
        changes += [
            Change(
                what=f"{look.guest.label}, {_said(option)}", before=_shown(option, look.value(option.field)), after=_shown(option, value)
            )
            for option, value in moved.items()
        ]
    return plan_of(
        "guest.set-config", args, ports, looks, steps, "Change settings of", "change of settings", changes, "Put the old settings back"
    )


def _tag_step(look: Look, key: str, after: tuple[str, ...]) -> Step:
    have = _has(look)
    text = "; ".join(
        f"{verb} {', '.join(tags)}"
        for verb, tags in (("add", sorted(set(after) - set(have))), ("remove", sorted(set(have) - set(after))))
        if tags
    )
    return _step(
        look, key, f"Tags of {look.guest.label}: {text}", {"tags": ";".join(after) or None}, {"tags": ";".join(have) or None},
        expects=_tag_facts(look, have, after), undone=_tag_facts(look, after, have), touched=("tags",),
    )  # fmt: skip


def _tag_facts(look: Look, before: tuple[str, ...], after: tuple[str, ...]) -> tuple[Fact, ...]:
    subject = look.guest.ref.subject
    found = [Fact(subject=subject, field="tags", op="has", value=tag) for tag in after if tag not in before]
    return (*found, *(Fact(subject=subject, field="tags", op="lacks", value=tag) for tag in before if tag not in after))


def _config_step(look: Look, key: str, moved: dict[Option, FieldValue]) -> Step:
    subject = look.guest.ref.subject
    old = {option: look.value(option.field) for option in moved}
    waits = look.guest.kind == "qemu" and look.status != "stopped" and any(option.restart for option in moved)
    text = ", ".join(f"{_said(option)} {_shown(option, value)}" for option, value in moved.items())
    return _step(
        look, key, f"Set {look.guest.label}: {text}",
        {option.key: None if value is None else option.wire(value) for option, value in moved.items()},
        {option.key: None if value is None else option.wire(value) for option, value in old.items()},
        expects=tuple(Fact(subject=subject, field=option.field, value=value) for option, value in moved.items()),
        undone=tuple(Fact(subject=subject, field=option.field, value=value) for option, value in old.items()),
        touched=tuple(option.field for option in moved), note="it takes CPU and memory at its next start" if waits else "",
    )  # fmt: skip


def _step(
    look: Look, key: str, text: str, to: dict[str, str | int | None], back: dict[str, str | int | None], *, expects: tuple[Fact, ...],
    undone: tuple[Fact, ...], touched: tuple[str, ...], note: str = "",
) -> Step:  # fmt: skip
    """A step that writes keys of the configuration (none drops one), and its inverse."""
    ref, digest = look.guest.ref, look.value("digest")
    undo = Step(
        key=f"{key}-undo", text=f"Put the old values of {look.guest.label} back", subject=ref.subject,
        call=WireCall(method="PUT", path=f"{ref.path}/config", params=_params(back)), expects=undone, needs=(Need(kind="quorum"),),
        touches=("digest", *touched), expected_s=_EXPECTED_S, settle_s=_SETTLE_S,
    )  # fmt: skip
    params = (*_params(to), *((("digest", str(digest)),) if digest else ()))
    return Step(
        key=key, text=text, note=note, subject=ref.subject, call=WireCall(method="PUT", path=f"{ref.path}/config", params=params),
        assumes=look.assume("node", "kind", "lock", "template", "digest", "protection", "tags"), expects=expects, needs=(Need(kind="quorum"),),
        touches=("digest", *touched), expected_s=_EXPECTED_S, settle_s=_SETTLE_S, undo=undo,
    )  # fmt: skip


def _params(values: dict[str, str | int | None]) -> tuple[tuple[str, str | int], ...]:
    dropped = ",".join(key for key, value in values.items() if value is None)
    return (*((key, value) for key, value in values.items() if value is not None), *((("delete", dropped),) if dropped else ()))


def _tags(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip().lower() for part in re.split(r"[,;]", text) if part.strip()))
    bad = [tag for tag in found if not _TAG.match(tag)]
    if bad:
        raise InputError(
            f"{bad[0][:40]!r} cannot be a tag.", hint="Tags hold letters, digits, _ - + and dots, and start with a letter, a digit or _."
        )
    return found


def _has(look: Look) -> tuple[str, ...]:
    have = look.value("tags")
    return have if isinstance(have, tuple) else ()


def _said(option: Option) -> str:
    return option.name.removesuffix("_mib")


def _shown(option: Option, value: FieldValue) -> str:
    if value is None:
        return "all of its node" if option.name == "cores" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if option.name.endswith("_mib") and isinstance(value, int):
        return fmt_bytes(value << 20)
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


SETTING_TOOLS = (
    plan_tool("guest.set-tags", "Change tags of guests", TagArgs, set_tags, "VM.Config.Options"),
    plan_tool(
        "guest.set-config", "Change settings of guests", ConfigArgs, set_config, "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Options"
    ),
)
