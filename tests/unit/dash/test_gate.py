"""The gate: who brings the token once gets a cookie; addresses lose the token and never lead elsewhere."""

import pytest

from pveops.base.errors import ConfigError, Denied
from pveops.surfaces.dash import TOKEN_VARIABLE, serve_command
from pveops.surfaces.dash.gate import Gate, cookie_name, token_in, without_token
from pveops.surfaces.dash.lookonly import LookOnly

TOKEN = "0123456789abcdef-token"


def test_token_and_cookie_are_told_apart():
    gate = Gate(TOKEN)
    assert gate.knows_token(TOKEN)
    assert gate.knows_cookie(gate.cookie)
    assert not gate.knows_token(gate.cookie)
    assert not gate.knows_cookie(TOKEN)
    assert not gate.knows_cookie("")
    assert not gate.knows_token("täuschung")
    assert TOKEN not in gate.cookie


def test_a_short_or_missing_token_is_refused(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="fewer than 16"):
        Gate.of_environment()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert Gate.of_environment().knows_token(TOKEN)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("/cluster?token=x", "/cluster"),
        ("/cluster?a=1&token=x&b=2", "/cluster?a=1&b=2"),
        ("/", "/"),
        ("https://evil.example/cluster", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("evil", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_signing_in_one_stays_here(address, local):
    assert without_token(address) == local


def test_the_token_is_found_in_an_address():
    assert token_in("/cluster?token=abc&x=1") == "abc"
    assert token_in("/cluster") == ""


def test_each_port_has_a_cookie_of_its_own():
    assert cookie_name(5006) != cookie_name(5007)


def test_the_command_names_no_secret():
    command = serve_command(5006, profile="sim")
    assert command[1:] == ["-m", "pveops.surfaces.dash", "--port", "5006", "--profile", "sim"]
    assert serve_command(1)[-1] == "1"


class Decider:
    principal = "operator"
    can_sign = True

    def proposal(self, proposal_id):
        return proposal_id

    def preview(self, plan):
        return plan

    def events(self, *, after, wait_s=20.0):
        return [after]

    def audit(self, *, proposal="", limit=100):
        return [proposal]


def test_a_page_without_gate_sees_everything_and_decides_nothing():
    page = LookOnly(Decider())
    assert not page.can_sign
    assert (page.proposal("p"), page.preview("x"), page.events(after=3), page.audit(proposal="p")) == ("p", "x", [3], ["p"])
    for call in (
        lambda: page.approve(None, channel="x"),
        lambda: page.deny("p"),
        lambda: page.withdraw("p"),
        lambda: page.stop("p"),
        lambda: page.resolve("p", None),
    ):
        with pytest.raises(Denied, match="without sign-in"):
            call()
