"""``pveops secrets``: where tokens come from, without showing any."""

from __future__ import annotations

import os
import sys
from typing import Literal

import typer

from pveops.base.errors import ConfigError, InputError
from pveops.surfaces.cli.context import Output, command, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

secrets = typer.Typer(help="Where tokens come from. None is ever shown.", no_args_is_help=True)


@secrets.command("ls")
def ls(profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """Ask every place for both tokens of a profile and tell who answers. The first that does counts."""
    from pveops.settings.home import Home
    from pveops.settings.profile import resolve

    with command("secrets.ls"):
        target = resolve(profile, Home.find(os.environ), os.environ)
        rows = []
        roles: tuple[Literal["read", "write"], ...] = ("read", "write")
        for role in roles:
            wanted, used = target.wanted(role), False
            for answer in target.chain.tell(wanted):
                counts = answer.has and not used
                used = used or answer.has
                rows.append({"secret": wanted.name, "source": answer.source, "used": counts, "said": answer.said})
        if output is Output.JSON:
            print_json(rows)
        else:
            print_rows(rows, ("secret", "source", "used", "said"))


@secrets.command("keep")
def keep(role: str = typer.Argument(help="read or write."), profile: str = PROFILE) -> None:
    """Put a token into the keyring. It is asked for without echo, or read from stdin."""
    from pveops.base.secret import Secret
    from pveops.settings.home import Home
    from pveops.settings.profile import check_token, resolve

    with command("secrets.keep"):
        if role not in ("read", "write"):
            raise InputError(f"{role!r} is no role.", hint="Write read or write.")
        target = resolve(profile, Home.find(os.environ), os.environ)
        wanted = target.wanted("read" if role == "read" else "write")
        asking = sys.stdin.isatty()
        text = typer.prompt(f"The {role} token (user@realm!name=value)", hide_input=True, err=True) if asking else sys.stdin.readline()
        where = target.chain.keep(wanted, check_token(Secret(text.strip()), "what you gave"))
        say(f"{wanted.name} is kept in {where}. Whatever runs under your user can read it there: keep no write token of a real cluster so.")
        earlier = next(answer for answer in target.chain.tell(wanted) if answer.has)
        if earlier.source != "keyring":
            raise ConfigError(f"It is not used: {earlier.source} ({earlier.said}) is asked first.", hint="Remove it there.")
