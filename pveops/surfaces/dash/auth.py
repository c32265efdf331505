"""The ``auth_module`` of the page server. The first visit needs ``?token=``; it sets a cookie that no script and no other site can use."""

from __future__ import annotations

from typing import Any

from tornado.web import RequestHandler

from pveops.surfaces.dash.gate import Gate, cookie_name, guard, is_local, token_in, without_token

login_url = "/sign-in"
_GATE = Gate.of_environment()
_SENTENCE = "This page opens with the address that `pveops up` printed; its token is missing or old."
guard()


def get_user(handler: Any) -> str | None:
    """The signed-in person, or None. Called for every page and every websocket; no page may be framed."""
    _headers(handler)
    if not is_local(str(handler.request.host)):
        return None
    given = handler.get_cookie(cookie_name(_port(handler)), "")
    return "person" if given and _GATE.knows_cookie(given) else None


class LoginHandler(RequestHandler):
    """Takes the token out of the address, or says in one sentence what is missing."""

    def get(self) -> None:
        """Sign in and go on to the page that was asked for."""
        _headers(self)
        wanted = self.get_argument("next", "/")
        given = token_in(wanted) or self.get_argument("token", "")
        if not is_local(str(self.request.host)) or not given or not _GATE.knows_token(given):
            self.set_status(403)
            self.finish(f'<!doctype html><html lang="en"><title>pveops</title><p>{_SENTENCE}</p></html>')
            return
        self.set_cookie(cookie_name(_port(self)), _GATE.cookie, httponly=True, samesite="Strict", path="/")
        self.redirect(without_token(wanted))


def _headers(handler: Any) -> None:
    handler.set_header("X-Frame-Options", "DENY")
    handler.set_header("Content-Security-Policy", "frame-ancestors 'none'")
    handler.set_header("Referrer-Policy", "no-referrer")
    handler.set_header("X-Content-Type-Options", "nosniff")


def _port(handler: Any) -> int:
    port = str(handler.request.host).rpartition(":")[2]
    return int(port) if port.isdigit() else 80
