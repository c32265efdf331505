"""Certificates from an authority: accounts, plugins, and the orders of nodes. No authority answers in a simulation."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.sections import Options, Row, Sections
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_DIRECTORIES = {
    "Let's Encrypt V2": "https://acme-v02.api.letsencrypt.org/directory",
    "Let's Encrypt V2 Staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
_TERMS = "https://letsencrypt.org/documents/LE-SA-v1.6-August-18-2025.pdf"
_PLUGINS = {
    "dns": Options("api data", "validation-delay disable nodes"),
    "standalone": Options("", "disable nodes"),
}
_DNS_APIS = ("acmedns", "aws", "azure", "cf", "desec", "dgon", "gcloud", "gd", "hetzner", "inwx", "ovh", "pdns", "route53")


@api.reads("GET /cluster/acme/directories")
def directories(call: Call) -> list[dict[str, str]]:
    """Known authorities."""
    return [{"name": name, "url": url} for name, url in _DIRECTORIES.items()]


@api.reads("GET /cluster/acme/tos")
def terms(call: Call) -> str:
    """The terms of service of an authority."""
    return _TERMS


@api.reads("GET /cluster/acme/meta")
def meta(call: Call) -> dict[str, Any]:
    """What an authority says about itself."""
    return {"caaIdentities": ["letsencrypt.org"], "termsOfService": _TERMS, "website": "https://letsencrypt.org"}


@api.reads("GET /cluster/acme/challenge-schema")
def challenges(call: Call) -> list[dict[str, Any]]:
    """Providers of names that plugins can talk to."""
    return [{"id": name, "name": name, "type": "dns", "schema": {"fields": {}}} for name in _DNS_APIS]


@api.reads("GET /cluster/acme/account")
def accounts(call: Call) -> list[dict[str, str]]:
    """The accounts."""
    return [{"name": name} for name in call.cluster.configs.acme_accounts]


def _account(call: Call) -> dict[str, Any]:
    name = call.p.get("name", "default")
    found = call.cluster.configs.acme_accounts.get(name)
    if found is None:
        raise bad_parameter("name", f"ACME account config file '{name}' does not exist.")
    return found


@api.reads("GET /cluster/acme/account/{name}")
def account(call: Call) -> dict[str, Any]:
    """One account."""
    return dict(_account(call))


@api.behaves("POST /cluster/acme/account")
def register(call: Call) -> str:
    """Register an account."""
    name, known = call.p.get("name", "default"), call.cluster.configs.acme_accounts
    if name in known:
        raise bad_parameter("name", f"ACME account config file '{name}' already exists.")
    directory = call.p.get("directory", _DIRECTORIES["Let's Encrypt V2"])
    contact = [f"mailto:{one}" for one in split_list(call.p["contact"])]

    def work(task: Task) -> Body:
        task.say("Generating ACME account key..")
        yield 1.2
        task.say("Registering ACME account..")
        yield 0.8
        known[name] = {
            "account": {"status": "valid", "contact": contact},
            "directory": directory,
            "location": f"{directory.removesuffix('/directory')}/acme/acct/{len(known) + 1}",
            "tos": _TERMS,
        }
        task.say("Registration successful")

    return call.world.fork(call.cluster.local_node, "acmeregister", "", call.who, work)


@api.behaves("PUT /cluster/acme/account/{name}", "DELETE /cluster/acme/account/{name}")
def change_account(call: Call) -> str:
    """Change the contact of an account, or give it up."""
    found, known, name = _account(call), call.cluster.configs.acme_accounts, call.p["name"]
    contact = split_list(call.p.get("contact", ""))
    gone = not call.knows("contact")
    kind = "acmedeactivate" if gone else "acmeupdate" if contact else "acmerefresh"

    def work(task: Task) -> Body:
        yield 1.0
        if gone:
            known.pop(name, None)
        elif contact:
            found["account"]["contact"] = [f"mailto:{one}" for one in contact]

    return call.world.fork(call.cluster.local_node, kind, "", call.who, work)


def _plugins(call: Call) -> Sections:
    return call.cluster.configs.acme_plugins


def _rows(call: Call) -> dict[str, Row]:
    """The plugins; the one that answers by itself is always there."""
    return {**_plugins(call).rows, "standalone": {"type": "standalone"}}


def _row(call: Call, name: str, row: Row) -> dict[str, Any]:
    return {"plugin": name, **row, "digest": _plugins(call).digest}


@api.reads("GET /cluster/acme/plugins")
def plugins(call: Call) -> list[dict[str, Any]]:
    """All plugins."""
    wanted = call.p.get("type")
    return [_row(call, name, row) for name, row in sorted(_rows(call).items()) if wanted in (None, row["type"])]


@api.reads("GET /cluster/acme/plugins/{id}")
def plugin(call: Call) -> dict[str, Any]:
    """One plugin."""
    row = _rows(call).get(call.p["id"])
    if row is None:
        raise failed(f"ACME plugin '{call.p['id']}' not defined")
    return _row(call, call.p["id"], row)


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in ("id", "type", "delete", "digest")}


@api.behaves("POST /cluster/acme/plugins")
def create_plugin(call: Call) -> None:
    """A new plugin."""
    name, kind, given = call.p["id"], call.p["type"], _given(call)
    if name in _rows(call):
        raise failed(f"ACME plugin ID '{name}' already exists")
    _PLUGINS[kind].check(given, create=True)
    _plugins(call).rows[name] = {"type": kind, **given}


@api.behaves("PUT /cluster/acme/plugins/{id}")
def update_plugin(call: Call) -> None:
    """Change a plugin."""
    sections, name, given = _plugins(call), call.p["id"], _given(call)
    sections.check_digest(call.p.get("digest"))
    row = _rows(call).get(name)
    if row is None:
        raise failed(f"ACME plugin ID '{name}' does not exist")
    options, changed = _PLUGINS[row["type"]], dict(row)
    options.delete(changed, {}, split_list(call.p.get("delete", "")))
    options.check(given, create=False)
    sections.rows[name] = changed | given


@api.behaves("DELETE /cluster/acme/plugins/{id}")
def delete_plugin(call: Call) -> None:
    """Remove a plugin; that there is none is fine."""
    _plugins(call).rows.pop(call.p["id"], None)
