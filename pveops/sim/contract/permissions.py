"""Permission expressions of the schema, compiled to functions that let a request pass or refuse it with 403."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pveops.sim.contract.formats import verify_user
from pveops.sim.contract.schema import Method
from pveops.sim.errors import RefusedError, failed, forbidden
from pveops.sim.privileges import MODIFY_PRIVILEGES
from pveops.sim.props import split_list
from pveops.sim.state.access import Access, lacking, normalize
from pveops.sim.state.identity import Identities, Principal

_VARIABLE = re.compile(r"\{([^}]+)\}")


class Asker:
    """What a check may look at: who asks, with which parameters, before these were verified."""

    __slots__ = ("access", "identities", "parameters", "who")

    def __init__(self, access: Access, identities: Identities, who: Principal, parameters: dict[str, Any]) -> None:
        self.access = access
        self.identities = identities
        self.who = who
        self.parameters = parameters

    def path(self, template: str) -> str:
        """The ACL path of a template; a dash stands for a parameter that is missing."""
        return normalize(_VARIABLE.sub(lambda match: str(self.parameters.get(match[1]) or "-"), template))


Check = Callable[[Asker], None]
"""Returns, or raises ``RefusedError``."""


def _pass(asker: Asker) -> None:
    """For methods that every authenticated user may call; their handlers filter or check by themselves."""


def _root_only(asker: Asker) -> None:
    if not asker.who.is_root:
        raise forbidden("user != root@pam")


def _options(rest: list[Any]) -> dict[str, Any]:
    return dict(zip(rest[::2], rest[1::2], strict=False))


def _perm(template: str, names: list[str], *rest: Any) -> Check:
    options = _options(list(rest))
    needed = options.get("require_param")
    any_of = bool(options.get("any"))

    def check(asker: Asker) -> None:
        if needed and not asker.parameters.get(needed):
            raise forbidden()
        path = asker.path(template)
        if any_of:
            asker.access.demand_any(asker.who, path, *names)
        else:
            asker.access.demand(asker.who, path, *names)

    return check


def _perm_modify(template: str) -> Check:
    def check(asker: Asker) -> None:
        path = asker.path(template)
        names = ["Permissions.Modify"]
        extra = MODIFY_PRIVILEGES.get(path.strip("/").split("/")[0])
        if extra:
            names.append(extra)
        if not asker.access.may_any(asker.who, path, *names):
            raise lacking(path, names)

    return check


def _userid_param(asker: Asker) -> str:
    userid = str(asker.parameters.get("userid") or "")
    try:
        verify_user(userid)
    except ValueError as err:
        raise failed(str(err)) from err
    return userid


def _user_is(what: str) -> Check:
    def check(asker: Asker) -> None:
        userid = _userid_param(asker)
        if what == "self":
            if asker.who.name != userid:
                raise forbidden()
            return
        asker.access.demand(asker.who, f"/access/realm/{userid.rpartition('@')[2]}", what)

    return check


class _NoSuchUserError(RefusedError):
    """The user that a check is about does not exist: 500, but inside *or* only a check that did not let pass."""


def _known_user(asker: Asker) -> str:
    userid = _userid_param(asker)
    if userid not in asker.identities.users:
        raise _NoSuchUserError(500, f"no such user ('{userid}')")
    return userid


def _user_in_group(names: list[str], *rest: Any) -> Check:
    mode = _options(list(rest)).get("groups_param")

    def check(asker: Asker) -> None:
        userid = _known_user(asker) if mode != "create" else ""
        if asker.access.may_any(asker.who, "/access/groups", *names):
            return
        allowed = {name for name in asker.identities.groups if asker.access.may_any(asker.who, f"/access/groups/{name}", *names)}
        if mode:
            wanted = split_list(str(asker.parameters.get("groups") or ""))
            if not wanted:
                raise lacking("/access/groups", names)
            for group in wanted:
                if group not in allowed:
                    raise lacking(f"/access/groups/{group}", names)
        if userid and not any(userid in asker.identities.groups[name].members for name in allowed):
            raise forbidden()

    return check


def _all_of(*parts: list[Any]) -> Check:
    checks = [compile_expression(part) for part in parts]

    def check(asker: Asker) -> None:
        for one in checks:
            one(asker)

    return check


def _one_of(*parts: list[Any]) -> Check:
    """The first that lets pass. When none does, the refusal says no details, unless a check inside a nested *and* gave them."""
    checks = [(part[0] == "and", compile_expression(part)) for part in parts]

    def check(asker: Asker) -> None:
        refusal = forbidden()
        for nested, one in checks:
            try:
                one(asker)
            except RefusedError as err:
                if err.status != 403 and (nested or not isinstance(err, _NoSuchUserError)):
                    raise
                if nested:
                    refusal = err
            else:
                return
        raise refusal

    return check


def compile_expression(expression: list[Any]) -> Check:
    """One expression of the schema, such as ``["perm", "/vms/{vmid}", ["VM.Audit"]]``."""
    makers: dict[str, Callable[..., Check]] = {
        "and": _all_of,
        "or": _one_of,
        "perm": _perm,
        "perm-modify": _perm_modify,
        "userid-group": _user_in_group,
        "userid-param": _user_is,
    }
    return makers[expression[0]](*expression[1:])


def compile_method(method: Method) -> Check:
    """The check of a method: its expression; nothing for ``all`` and ``world``; root in person where the schema names nothing."""
    if method.permissions is None:
        return _root_only
    if "user" in method.permissions:
        return _pass
    return compile_expression(method.permissions["check"])


def open_to_world(method: Method) -> bool:
    """Whether the method answers without credentials."""
    return bool(method.permissions) and (method.permissions or {}).get("user") == "world"
