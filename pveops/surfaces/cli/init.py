"""``pveops init``: set up a home and a profile for a real cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pveops.base.errors import ApiError, ConfigError, Forbidden, InputError
from pveops.base.files import read_secret
from pveops.base.secret import Secret
from pveops.surfaces.cli.context import command, out, say

if TYPE_CHECKING:
    from pveops.app.cluster import FactReader
    from pveops.app.privileges import RoleName
    from pveops.settings.home import Home


def init(
    profile: str = typer.Option("home", "--profile", "-p", help="What to call this cluster."),
    url: list[str] = typer.Option(None, help="Address of a node, https://host:8006; give it once per node."),
    ca: Path = typer.Option(None, help="Authority to check certificates with (pve-root-ca.pem), instead of pinning each."),
    pin: bool = typer.Option(False, "--pin", help="Pin the certificates that are shown, without asking."),
    read_token_file: Path = typer.Option(None, help="File with the read token, user@realm!name=value (mode 0600)."),
    act_token_file: Path = typer.Option(None, help="File with the token that may act, for the executor alone (mode 0600)."),
    commands_only: bool = typer.Option(False, "--commands", help="Only print the pveum commands."),
    check_only: bool = typer.Option(False, "--check", help="Only check an existing profile: certificates, tokens, privileges."),
) -> None:
    """Set up pveops for a cluster: roles, certificates, tokens, privileges. Run it again any time: it changes only what you name."""
    with command("init"):
        if commands_only:
            print_commands(to_stdout=True)
            return
        home = _home()
        if not check_only:
            _profile(home, profile, url or [], ca, read_token_file, act_token_file, pin=pin)
        raise typer.Exit(_check(home, profile))


def _home() -> Home:
    """The home, with principals, policy and kill switch in place."""
    from pveops.app.setup import USUAL, add_policy, add_principals, arm
    from pveops.settings.home import Home

    home = Home.find(os.environ).make()
    made = add_principals(home, USUAL)
    if made:
        say(f"Made principals {', '.join(made)} in {home.root}. You are operator: only people can approve.")
    if add_policy(home):
        say(f"Put the policy set homelab into {home.policy}. Read it; it is yours to tighten.")
    if arm(home, by="init"):
        say("Put the kill switch in place, off.")
    return home


def print_commands(*, to_stdout: bool = False) -> None:
    """The pveum commands for both roles."""
    from pveops.app.privileges import commands

    tell = out().print if to_stdout else say
    if not to_stdout:
        say("\nRun these as root on any node. They make a role that reads, a role that acts, and a token for each:\n", "bold")
    for line in commands():
        tell(line)
    if not to_stdout:
        say("\nEach `token add` prints its value once: the text after “value”. Write it down as user@realm!name=value.\n")


def _profile(home: Home, name: str, urls: list[str], ca: Path | None, read_file: Path | None, act_file: Path | None, *, pin: bool) -> None:
    from pveops.app.setup import add_profile, write_secret
    from pveops.settings.profile import check_url, load_config

    known = load_config(home).profiles.get(name)
    asking = sys.stdin.isatty()
    if not urls and known:
        urls = list(known.urls)
    if not urls:
        print_commands()
        if not asking:
            raise InputError("No address was given.", hint="Run `pveops init --url https://host:8006`, once per node with --url again.")
        urls = [part for part in typer.prompt("Addresses of the nodes (https://host:8006, parted by blanks)", err=True).split() if part]
    urls = [check_url(one, "--url") for one in urls]
    prints = [] if ca else _pin(urls, pin=pin, asking=asking)
    fields: dict[str, object] = {"urls": urls, "ca": str(ca.expanduser().absolute()) if ca else "", "fingerprints": prints}
    for key, given, role in (("read_token_file", read_file, "read"), ("write_token_file", act_file, "act")):
        secret = _token(
            given, role, known.read_token_file if known and role == "read" else known.write_token_file if known else "", asking=asking
        )
        if isinstance(secret, Secret):
            fields[key] = write_secret(home, f"{'executor/' if role == 'act' else ''}{name}-{role}.token", secret)
        else:
            fields[key] = secret
    add_profile(home, name, fields, default=not load_config(home).default_profile)
    say(f"Wrote profile {name} to {home.config}.")


def _pin(urls: list[str], *, pin: bool, asking: bool) -> list[str]:
    """Show each node's certificate and let a person say that it is the right one."""
    from pveops.clients.cluster.certificate import look

    prints = []
    for url in urls:
        seen = look(url)
        say(f"\n{url}", "bold")
        say(f"  subject {seen.subject}\n  issuer  {seen.issuer}\n  until   {seen.not_after:%Y-%m-%d}\n  SHA-256 {seen.fingerprint}")
        say("  Compare with the node: openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem")
        if not pin:
            if not asking:
                raise InputError(
                    f"The certificate of {url} is not pinned.", hint="Compare the fingerprint, then run again with --pin, or give --ca."
                )
            if not typer.confirm("  Is this the right one?", err=True):
                raise InputError(f"The certificate of {url} was not accepted. Nothing was written.")
        prints.append(seen.fingerprint)
    return prints


def _token(given: Path | None, role: str, known: str, *, asking: bool) -> Secret | str:
    """The token from a file or typed; what the profile has already where neither is there."""
    from pveops.settings.profile import check_token

    if given is not None:
        return check_token(read_secret(given, f"the {role} token"), str(given))
    if known or not asking:
        return known
    text = typer.prompt(
        f"The {role} token (user@realm!name=value; empty to set it later)", default="", hide_input=True, show_default=False, err=True
    )
    return check_token(Secret(text.strip()), "what you typed") if text.strip() else ""


def _check(home: Home, name: str) -> int:
    """Look at both tokens: are they taken, and what may they do. Returns the exit code."""
    from pveops.app.cluster import FactReader, open_wire
    from pveops.settings.profile import resolve

    target = resolve(name, home, os.environ)
    worst = 0
    roles: tuple[tuple[RoleName, Callable[[], Secret]], ...] = (("read", target.read_token), ("act", target.write_token))
    for role, read in roles:
        try:
            token = read()
        except ConfigError as error:
            say(f"{error.message} {error.hint}")
            worst = max(worst, error.exit_code if role == "read" else 0)
            continue
        reader = FactReader(open_wire(target, token))
        version = reader.version()
        say(f"\nThe {role} token is taken by {name}, Proxmox VE {version}{' (simulated)' if reader.simulated() else ''}.", "bold")
        worst = max(worst, _privileges(reader, role))
    if worst == 0:
        say("\nReady. Try `pveops nodes ls`, then `pveops up`.")
    return worst


def _privileges(reader: FactReader, role: RoleName) -> int:
    from pveops.app.privileges import check

    try:
        have = reader.privileges(again=True)
    except ApiError as error:
        say(f"  Its privileges cannot be read: {error.message}")
        return error.exit_code
    missing = 0
    for wanted, there in check(have, role):
        if there:
            say(f"  ok       {wanted.privilege} on {wanted.path}", "green")
        else:
            say(
                f"  {'optional' if wanted.optional else 'missing '} {wanted.privilege} on {wanted.path}: without it {wanted.costs}",
                "yellow" if wanted.optional else "red",
            )
            missing += not wanted.optional
    return Forbidden.exit_code if missing else 0
