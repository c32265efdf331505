"""Tickets, CSRF tokens and API tokens. Authentication runs on the wall clock: a fast simulation must not log people out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from urllib.parse import unquote

from pveops.sim.errors import unauthorized
from pveops.sim.state.identity import Identities, Principal

LIFETIME_S = 2 * 3600
_EARLY_S = 300
_CONSOLE_S = 40
_TICKET = re.compile(r"(PVE:(\S+?@[A-Za-z][A-Za-z0-9.\-_]+):([0-9A-F]{8}))::([A-Za-z0-9+/=]+)")
_TOKEN = re.compile(r"PVEAPIToken[= ]\s*(\S+)")
_COOKIE = re.compile(r"(?:^|;)\s*PVEAuthCookie=([^;]+)")
_HEADER_COOKIE = re.compile(r"PVEAuthCookie=(\S+)")


class Gate:
    """Checks the credentials of a request and issues new ones.

    Args:
        identities: the users and tokens.
        key: the secret that signs tickets.
        wall: the real time, seconds since the epoch.
    """

    def __init__(self, identities: Identities, key: bytes, wall: Callable[[], float] = time.time) -> None:
        self._ids = identities
        self._key = key
        self.wall_s = wall
        self.issued = 0
        """How many tickets were given out."""

    def _sign(self, text: str) -> str:
        return base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha512).digest()).decode()

    def issue(self, userid: str) -> tuple[str, str]:
        """A fresh ticket and its CSRF token."""
        self.issued += 1
        stamp = f"{int(self.wall_s()):08X}"
        text = f"PVE:{userid}:{stamp}"
        return f"{text}::{self._sign(text)}", f"{stamp}:{self._csrf(stamp, userid)}"

    def _csrf(self, stamp: str, userid: str) -> str:
        return base64.b64encode(hmac.new(self._key, f"csrf:{stamp}:{userid}".encode(), hashlib.sha256).digest()).decode().rstrip("=")

    def _in_time(self, stamp: str) -> bool:
        age_s = self.wall_s() - int(stamp, 16)
        return -_EARLY_S <= age_s <= LIFETIME_S

    def ticket_user(self, ticket: str) -> str | None:
        """The user of a ticket, or ``None`` when it is not ours, out of time, or its user may not log in."""
        match = _TICKET.fullmatch(ticket)
        if not match or not hmac.compare_digest(match[4], self._sign(match[1])) or not self._in_time(match[3]):
            return None
        user = self._ids.users.get(match[2])
        return match[2] if user and user.usable(self.wall_s()) else None

    def csrf_fits(self, token: str, userid: str) -> bool:
        """Whether the CSRF token belongs to the user and is in time."""
        stamp, _, digest = token.partition(":")
        if not re.fullmatch(r"[0-9A-F]{8}", stamp) or not self._in_time(stamp):
            return False
        return hmac.compare_digest(digest, self._csrf(stamp, userid))

    def issue_console(self, userid: str, path: str) -> str:
        """A ticket for a console: good for one user (or token) and one ACL path, for a short while."""
        stamp = f"{int(self.wall_s()):08X}"
        return f"PVEVNC:{stamp}::{self._sign(f'PVEVNC:{stamp}:{userid}:{path}')}"

    def console_fits(self, ticket: str, userid: str, path: str) -> bool:
        """Whether a console ticket is ours, for that user and path, and fresh."""
        head, _, signature = ticket.partition("::")
        stamp = head.partition(":")[2]
        if not re.fullmatch(r"PVEVNC:[0-9A-F]{8}", head) or not 0 <= self.wall_s() - int(stamp, 16) <= _CONSOLE_S:
            return False
        return hmac.compare_digest(signature, self._sign(f"{head}:{userid}:{path}"))

    def _token_principal(self, text: str) -> Principal | None:
        name, _, secret = text.partition("=")
        userid, _, token_name = name.partition("!")
        user, token = self._ids.users.get(userid), self._ids.token(name)
        if user is None or token is None or not hmac.compare_digest(token.secret, secret):
            return None
        if not user.usable(self.wall_s()) or (token.expire_s and token.expire_s <= self.wall_s()):
            return None
        return Principal(userid, token_name)

    def identify(self, verb: str, cookie: str, authorization: str, csrf: str) -> Principal:
        """Who makes the request; a ticket wins over a token.

        Raises:
            RefusedError: 401, to be delayed by the server.
        """
        ticket_text = _COOKIE.search(cookie) or _HEADER_COOKIE.fullmatch(authorization.strip())
        if ticket_text:
            userid = self.ticket_user(unquote(ticket_text[1]))
            if userid is None:
                raise unauthorized("Authentication failed!")
            if verb != "GET" and not self.csrf_fits(csrf, userid):
                raise unauthorized("Permission denied - invalid csrf token")
            return Principal(userid)
        token_text = _TOKEN.fullmatch(authorization.strip())
        if not token_text:
            raise unauthorized("No ticket")
        principal = self._token_principal(token_text[1])
        if principal is None:
            raise unauthorized("Authentication failed!")
        return principal


def claimed_user(cookie: str, authorization: str) -> str:
    """Who a request says it comes from, not checked; for the request log. Empty when it does not say."""
    token = _TOKEN.fullmatch(authorization.strip())
    ticket = _COOKIE.search(cookie) or _HEADER_COOKIE.fullmatch(authorization.strip())
    if ticket:
        parts = unquote(ticket[1]).split(":")
        return parts[1] if len(parts) > 1 else ""
    return token[1].partition("=")[0] if token else ""
