"""``pveops login``, ``user``, ``group``, ``rule``: who there is, and what may run without being asked each time."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import typer

from pveops.base.errors import Denied, ExecutorUnavailable, InputError
from pveops.base.secret import Secret
from pveops.surfaces.cli.context import Output, command, open_executor, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

login = typer.Typer(help="Log in with your key or password, log out, break the glass.", no_args_is_help=True)
user = typer.Typer(help="People, agents, runbooks, services: who may ask and who may approve.", no_args_is_help=True)
group = typer.Typer(help="Groups of principals, for policies.", no_args_is_help=True)
rule = typer.Typer(help="Standing rules: approvals given beforehand, narrow, with a budget and an end.", no_args_is_help=True)
NAME = typer.Argument(help="Name of the principal.")


def _typed(what: str) -> Secret:
    """Something secret, typed without an echo; from a pipe where there is no terminal."""
    if sys.stdin.isatty():
        return Secret(typer.prompt(what, hide_input=True, err=True))
    return Secret(sys.stdin.readline().rstrip("\n"))


@login.command("as")
def login_as(name: str = NAME, password: bool = typer.Option(False, "--password", help="With your password instead of your key.")) -> None:
    """Get a token that is good for eight hours. It is kept beside your key."""
    from pveops.clients.executor import login as ask
    from pveops.settings.credentials import Credential, load_credential, save_session
    from pveops.settings.home import Home

    with command("login"):
        home = Home.find(os.environ)
        if password:
            reply = ask(home.socket, name, password=_typed(f"Password of {name}"))
        else:
            key = load_credential(home, name, session=False).private_key
            if key is None:
                raise InputError(f"{name} has no key here.", hint="Log in with --password.")
            reply = ask(home.socket, name, key=key)
        save_session(home, Credential(name, Secret(reply.token)), reply.until)
        say(f"You are {name} until {reply.until:%Y-%m-%d %H:%M} UTC. Set PVEOPS_PRINCIPAL={name} to act as {name}.")


@login.command("out")
def login_out(name: str = NAME) -> None:
    """End a login: the executor takes its token no more, and it is forgotten here."""
    from pveops.clients.executor import ExecutorClient
    from pveops.settings.credentials import drop_session, open_session
    from pveops.settings.home import Home

    with command("login.out"):
        home = Home.find(os.environ)
        token = open_session(home, name)
        if token is None:
            drop_session(home, name)
            say(f"{name} is not logged in here.")
            return
        client = ExecutorClient(home.socket, name, token, channel="cli")
        try:
            client.logout()
            say(f"{name} is logged out.")
        except Denied:
            say(f"The login of {name} was over already.")
        except ExecutorUnavailable:
            say(f"Forgot the login of {name} here. The executor does not answer: it will take the token until its time is over.", "yellow")
        finally:
            client.close()
        drop_session(home, name)


@login.command("glass")
def glass(
    why: str = typer.Option("", "--why", help="The reason; it is written down and shown to everybody."),
    minutes: int = typer.Option(15, help="For how long, at most 60."),
    mend: bool = typer.Option(False, "--mend", help="Make it whole again now."),
    set_: bool = typer.Option(False, "--set", help="Set the passphrase."),
) -> None:
    """Break the glass: approve alone what is RED, or in a freeze, for a short while. Never what is BLACK."""
    with command("login.glass"):
        client = open_executor()
        if mend:
            client.glass("mend")
            say("The glass is whole again.")
        elif set_:
            client.glass("set", passphrase=_typed("New passphrase"))
            say("The passphrase is set.")
        else:
            broken = client.glass("break", passphrase=_typed("Passphrase"), why=why, seconds=minutes * 60)
            say(
                f"THE GLASS IS BROKEN until {max(one.until for one in broken):%H:%M} UTC: {why}. Everything you approve is marked.",
                "bold red",
            )


@user.command("ls")
def user_ls(output: Output = OUTPUT) -> None:
    """List all principals."""
    from pveops.model.codec import encode

    with command("user.ls"):
        rows = [encode(one) for one in open_executor().users()]
        if output is Output.JSON:
            print_json(rows)
            return
        shown = [row | {"roles": ", ".join(row["roles"]), "groups": ", ".join(row["groups"])} for row in rows]
        print_rows(shown, ("name", "kind", "roles", "groups", "alias_of", "has_key", "has_password", "has_token"))


@user.command("add")
def user_add(
    name: str = NAME,
    kind: str = typer.Option("person", help="person, agent, runbook, service, autopilot or client."),
    role: list[str] = typer.Option([], help="operator, proposer, viewer or auditor; may be given several times."),
    member_of: list[str] = typer.Option([], "--group", help="A group; may be given several times."),
    alias_of: str = typer.Option("", help="Another name of this person: their approvals count once."),
    key: str = typer.Option("", help="Public key of a person (hexadecimal); without it a key pair is made here."),
    password: bool = typer.Option(False, "--password", help="Ask for a password to log in with."),
    token: bool = typer.Option(False, "--token", help="Give it a lasting token; people log in instead."),
) -> None:
    """Make a principal, or change one."""
    from pveops.model.claims import new_key
    from pveops.model.messages import UserRequest
    from pveops.settings.credentials import Credential, check_principal, save_credential
    from pveops.settings.home import Home

    with command("user.add"):
        check_principal(name)
        home, private, public = Home.find(os.environ), None, key
        if kind == "person" and not key and not home.credential(name).exists():
            private, public = new_key()
        asked = UserRequest(
            name=name, kind=kind, roles=tuple(role), groups=tuple(member_of), alias_of=alias_of, public_key=public,  # type: ignore[arg-type] # checked there
            password=_typed(f"Password of {name}").reveal() if password else "", token=token or kind != "person",
        )  # fmt: skip
        given = open_executor().add_user(asked)
        if private is not None or given is not None:
            save_credential(home, Credential(name, given or Secret(""), private))
            say(f"Its credential is in {home.credential(name)}: hand it over and remove it here if {name} works elsewhere.")
        say(f"{name} ({kind}) is known.")


@user.command("rm")
def user_rm(name: str = NAME) -> None:
    """Remove a principal and its other names."""
    with command("user.rm"):
        open_executor().remove_user(name)
        say(f"{name} is no longer known.")


@group.command("add")
def group_add(group_name: str = typer.Argument(help="Name of the group."), name: str = NAME) -> None:
    """Put a principal into a group."""
    with command("group.add"):
        open_executor().group(name, group_name, member=True)
        say(f"{name} is in {group_name}.")


@group.command("rm")
def group_rm(group_name: str = typer.Argument(help="Name of the group."), name: str = NAME) -> None:
    """Take a principal out of a group."""
    with command("group.rm"):
        open_executor().group(name, group_name, member=False)
        say(f"{name} is not in {group_name}.")


@group.command("ls")
def group_ls(output: Output = OUTPUT) -> None:
    """List groups with their members."""
    with command("group.ls"):
        people = open_executor().users()
        names = sorted({name for one in people for name in one.groups})
        rows = [{"group": name, "members": ", ".join(one.name for one in people if name in one.groups)} for name in names]
        if output is Output.JSON:
            print_json(rows)
        elif rows:
            print_rows(rows, ("group", "members"))
        else:
            say("No groups.", "dim")


@rule.command("add")
def rule_add(
    principal: list[str] = typer.Option(
        ..., "--for", help="Who may use it: runbooks, services, the autopilot; may be given several times."
    ),
    tool: list[str] = typer.Option(..., help="A tool, guest.start; may be given several times."),
    guest: list[int] = typer.Option([], help="A guest; may be given several times."),
    tag: str = typer.Option("", help="Guests that carry this tag."),
    per_hour: int = typer.Option(1, help="Most steps in an hour."),
    per_day: int = typer.Option(5, help="Most steps in a day."),
    days: int = typer.Option(30, help="How long it is good for, at most 90."),
    why: str = typer.Option(..., "--why", help="The reason; it is written down."),
) -> None:
    """Approve beforehand what runs by itself, signed with your key. Nothing destructive, nothing that a model wrote."""
    from pveops.base.clock import SystemClock
    from pveops.base.ids import new_id
    from pveops.model.standing import StandingRule

    with command("rule.add"):
        client, now = open_executor(), SystemClock().now()
        info = client.info()
        made = StandingRule(
            id=new_id("s"), owner=client.principal, audience=info.executor, cluster=info.cluster, principals=tuple(principal), tools=tuple(tool),
            subjects=tuple(f"guest/{vmid}" for vmid in guest), tag=tag, per_hour=per_hour, per_day=per_day, issued=now,
            expires=now + timedelta(days=days), why=why,
        )  # fmt: skip
        client.add_rule(made)
        say(f"{made.id} is in force until {made.expires:%Y-%m-%d}. `pveops rule revoke {made.id}` ends it.")


@rule.command("ls")
def rule_ls(output: Output = OUTPUT) -> None:
    """List standing rules."""
    from pveops.model.codec import encode

    with command("rule.ls"):
        found = open_executor().rules()
        if output is Output.JSON:
            print_json([encode(one) for one in found])
            return
        rows = [
            {"rule": one.rule.id, "owner": one.rule.owner, "for": ", ".join(one.rule.principals), "tools": ", ".join(one.rule.tools),
             "scope": ", ".join([*one.rule.subjects, *([f"tag {one.rule.tag}"] if one.rule.tag else [])]),
             "budget": f"{one.rule.per_hour} an hour, {one.rule.per_day} a day", "until": f"{one.rule.expires:%Y-%m-%d}", "why": one.rule.why}
            for one in found
        ]  # fmt: skip
        if rows:
            print_rows(rows, tuple(rows[0]))
        else:
            say("No standing rules.", "dim")


@rule.command("revoke")
def rule_revoke(rule_id: str = typer.Argument(help="Id of the rule, s-….")) -> None:
    """End a standing rule now."""
    with command("rule.revoke"):
        open_executor().revoke_rule(rule_id)
        say(f"{rule_id} is revoked.")
