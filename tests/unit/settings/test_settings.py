import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.app.setup import USUAL, add_policy, add_principals, add_profile, arm, write_secret
from pveops.base.errors import ConfigError
from pveops.base.secret import Secret
from pveops.guard.audit import Ledger
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy
from pveops.guard.principals import Principals
from pveops.settings.credentials import check_principal, load_credential, own_credential
from pveops.settings.home import Home
from pveops.settings.profile import check_url, load_config, resolve
from pveops.testing.fake import StepClock

TOKEN = "reader@pve!ro=00000000-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").make()


def test_where_the_home_is(tmp_path):
    assert Home.find({"PVEOPS_HOME": str(tmp_path)}).root == tmp_path
    assert Home.find({"XDG_STATE_HOME": "/x"}).root.as_posix() == "/x/pveops"
    assert Home.find({"HOME": "/h"}).root.as_posix() == "/h/.local/state/pveops"
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no folder"):
        Home.find({"PVEOPS_HOME": str(tmp_path / "file")})


def test_a_home_that_others_may_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="Others may write"):
        Home(tmp_path).make()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Cannot make"):
        Home(tmp_path / "file" / "x").make()


def test_no_file_is_an_empty_configuration(home):
    assert load_config(home).profiles == {}
    with pytest.raises(ConfigError, match="No cluster is set up yet"):
        resolve(None, home, {})


def test_profiles_are_added_replaced_and_nothing_else_is_lost(home):
    home.config.write_text('# mine\noperator = "anna"\n\n[executor]\napproval_ttl_s = 60 # short\n')
    add_profile(home, "one", {"urls": ["https://a:8006"], "ca": ""}, default=True)
    add_profile(home, "two", {"urls": ["https://b:8006"]}, default=False)
    add_profile(home, "one", {"urls": ["https://c:8006"], "timeout_s": 5.0}, default=False)
    config = load_config(home)
    assert (config.operator, config.default_profile, config.executor.approval_ttl_s) == ("anna", "one", 60)
    assert config.profiles["one"].urls == ("https://c:8006",)
    assert config.profiles["two"].urls == ("https://b:8006",)
    text = home.config.read_text()
    assert "# mine" in text
    assert "# short" in text
    before = home.config.read_text()
    with pytest.raises(ConfigError):
        add_profile(home, "bad", {"nonsense": 1}, default=False)
    assert home.config.read_text() == before


def test_the_environment_wins_over_the_file(home):
    add_profile(
        home, "one", {"urls": ["https://a:8006"], "ca": "x.pem", "read_token_file": write_secret(home, "t", Secret(TOKEN))}, default=True
    )
    add_profile(home, "two", {"urls": ["https://b"]}, default=False)
    assert resolve(None, home, {}).name == "one"
    assert resolve(None, home, {"PVEOPS_PROFILE": "two"}).name == "two"
    assert resolve("one", home, {"PVEOPS_PROFILE": "two"}).name == "one"
    bent = resolve(
        None,
        home,
        {"PVEOPS_URLS": "https://x https://y:9", "PVEOPS_FINGERPRINTS": "A" * 64, "PVEOPS_READ_TOKEN": TOKEN.replace("ro", "rx")},
    )
    assert bent.profile.urls == ("https://x:8006", "https://y:9")
    assert bent.ca is None
    assert "rx" in bent.read_token().reveal()
    assert resolve(None, home, {}).read_token().reveal() == TOKEN
    with pytest.raises(ConfigError, match="is not there"):
        _ = resolve(None, home, {}).ca
    with pytest.raises(ConfigError, match="no write token"):
        resolve(None, home, {}).write_token()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PVEOPS_URLS": "https://a,https://b,https://c", "PVEOPS_FINGERPRINTS": "A" * 64 + "," + "B" * 64}, "2 fingerprints for 3 URLs"),
        ({"PVEOPS_URLS": "https://a", "PVEOPS_FINGERPRINTS": "nope"}, "no SHA-256"),
        ({"PVEOPS_PROFILE": "../x"}, "cannot be the name"),
        ({"PVEOPS_PROFILE": "none"}, "no profile called"),
    ],
)
def test_what_does_not_fit_is_said(home, env, said):
    with pytest.raises(ConfigError, match=said):
        resolve(None, home, env)


@pytest.mark.parametrize(
    ("url", "good"), [("pve1", "https://pve1:8006"), ("https://[fd00::1]", "https://[fd00::1]:8006"), ("https://a:443/", "https://a:443")]
)
def test_addresses(url, good):
    assert check_url(url, "x") == good


@given(st.text(max_size=40))
def test_no_text_becomes_an_address_with_a_path_or_user(text):
    try:
        url = check_url(text, "x")
    except ConfigError:
        return
    assert url.startswith("https://")
    assert "@" not in url
    assert url.count("/") == 2


def test_a_fresh_home_is_usable_and_made_once(home):
    assert add_principals(home, USUAL) == ["operator", "agent", "runbook", "viewer"]
    assert add_principals(home, USUAL) == []
    assert add_policy(home)
    assert not add_policy(home)
    assert arm(home, by="test")
    KillSwitch(home.kill_switch, StepClock()).turn(on=True, why="x", by="y")
    assert not arm(home, by="test"), "a switch that is on stays on"
    assert KillSwitch(home.kill_switch, StepClock()).state().on
    assert Policy(home.policy).hash
    assert Ledger(home.ledger, StepClock()).verify().records == 1
    operator, agent = load_credential(home, "operator"), load_credential(home, "agent")
    register = Principals(home.principals)
    assert register.by_token(operator.token).public_key
    assert register.by_token(agent.token).public_key == ""
    assert operator.private_key
    assert agent.private_key is None
    assert own_credential(home, "operator", {"PVEOPS_PRINCIPAL": "agent"}).principal == "agent"
    for path in (home.principals, home.credential("operator"), home.kill_switch, home.policy / "homelab.cedar"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_credential_is_said(home):
    add_principals(home, USUAL)
    home.credential("agent").write_text("{")
    with pytest.raises(ConfigError, match="is damaged"):
        load_credential(home, "agent")
    for bad in ("../x", "A", "", "a b"):
        with pytest.raises(ConfigError, match="cannot be the name"):
            check_principal(bad)
