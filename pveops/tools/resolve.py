"""From what people call things to references. An ambiguous name is refused with its candidates, never guessed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from pveops.base.errors import AmbiguousName, InputError, UnknownName
from pveops.model.refs import check_node
from pveops.model.resources import Answer, Guest, Node

_NAME = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})$")


def find_guest(wanted: str | int, guests: Answer[Guest]) -> Guest:
    """The guest with that id or name.

    Raises:
        InputError: it cannot be an id or a name.
        UnknownName: there is none; near names are offered.
        AmbiguousName: several guests have that name.
    """
    text = str(wanted).strip()
    if isinstance(wanted, bool) or not _NAME.match(text):
        raise InputError(f"{text[:60]!r} is neither the id nor the name of a guest.", hint="Write an id like 101 or a name like web-1.")
    if text.isdigit():
        found = [guest for guest in guests.rows if guest.vmid == int(text)]
    else:
        found = [guest for guest in guests.rows if (guest.name or "").lower() == text.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = [f"{guest.vmid} on {guest.node} ({guest.status})" for guest in found]
        raise AmbiguousName(
            f"{len(found)} guests are called {text}: {', '.join(candidates)}.",
            hint="Say which one by its id.",
            details={"candidates": [guest.vmid for guest in found]},
        )
    hint = _near(text, guests.rows)
    filtered = any(gap.needs for gap in guests.gaps)
    if filtered:
        hint += " The token may not see all guests; `pveops init` checks its privileges."
    hint += "".join(f" The {gap.what}: {gap.why}; they may be listed without their names." for gap in guests.gaps if not gap.needs)
    raise UnknownName(f"There is no guest {text}{' that this token may see' if filtered else ''}.", hint=hint.strip())


def find_guests(wanted: str | int | Iterable[str | int], guests: Answer[Guest]) -> list[Guest]:
    """One or several guests: ids and names, in a list or parted by commas; ``tag:lab`` stands for all that carry the tag.

    Raises:
        InputError: as ``find_guest``; none was named; or a tag that nobody carries.
    """
    parts = [wanted] if isinstance(wanted, int) else wanted.split(",") if isinstance(wanted, str) else list(wanted)
    found: dict[int, Guest] = {}
    for part in parts:
        text = str(part).strip()
        if text.startswith("tag:"):
            tagged = [guest for guest in guests.rows if text[4:] in guest.tags and not guest.template]
            if not tagged:
                raise UnknownName(f"No guest carries the tag {text[4:]}.", hint=_tags(guests.rows))
            found.update({guest.vmid: guest for guest in tagged})
        elif text:
            guest = find_guest(text, guests)
            found[guest.vmid] = guest
    if not found:
        raise InputError("No guest is named.", hint="Write an id like 101, a name like web-1, or several with commas.")
    return list(found.values())


def find_node(wanted: str, nodes: Answer[Node]) -> Node:
    """The node of that name.

    Raises:
        InputError: it cannot be a name.
        UnknownName: there is none; the nodes are listed.
    """
    name = check_node(str(wanted).strip())
    for node in nodes.rows:
        if node.name.lower() == name.lower():
            return node
    known = ", ".join(node.name for node in nodes.rows)
    raise UnknownName(f"There is no node called {name}.", hint=f"The nodes are {known}.")


def _near(text: str, guests: Iterable[Guest]) -> str:
    names = {guest.name: guest.vmid for guest in guests if guest.name}
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {', '.join(f'{names[name]} {name}' for name in near)}?"
    return "`pveops guests ls` shows all of them."


def _tags(guests: Iterable[Guest]) -> str:
    tags = sorted({tag for guest in guests for tag in guest.tags})
    return f"There are: {', '.join(tags)}." if tags else "No guest carries any tag."
