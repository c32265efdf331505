import pytest

from pveops.app.setup import shipped_policy
from pveops.base.errors import ConfigError
from pveops.guard.policy import SETS
from pveops.guard.trial import load_cases, matrix, shipped_cases, trial


@pytest.fixture(scope="module", params=SETS)
def chosen(request):
    return request.param, shipped_policy(request.param)


def test_each_set_says_what_its_cases_expect(chosen):
    name, policy = chosen
    assert policy.fault == ""
    rows = trial(policy, shipped_cases(name))
    assert [row for row in rows if not row["ok"]] == []
    assert len(rows) > 20


def test_in_no_set_anything_but_a_person_approves_and_nobody_approves_black(chosen):
    for row in matrix(chosen[1]):
        allowed = {key for key, value in row.items() if key.startswith("approve ") and value == "yes"}
        assert row["who"].startswith("person") or not allowed
        assert row["tier"] != "black" or not allowed


def test_every_rule_has_a_name_and_a_sentence(chosen):
    for name, says in chosen[1].rules.items():
        assert says.get("say") or name in ("everyone-reads", "who-reads-the-record"), name


def test_a_case_that_is_not_met_is_told():
    cases = load_cases('[[case]]\nname="x"\nexpect="yes"\nkind="agent"\n[[case]]\nname="y"\naction="deny"\nexpect="yes"', "x.toml")
    first, second = trial(shipped_policy("homelab"), cases)
    assert (first["ok"], first["got"], first["rule"]) == (False, "no", "only-people-decide")
    assert second["ok"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("[[case", "no valid TOML"), ('[[case]]\nname="x"\nexpect="maybe"', "expect"), ('[[case]]\nname="x"\nexpect="no"\nwho="me"', "who")],
)
def test_doubtful_cases_are_named(text, said):
    with pytest.raises(ConfigError, match=said):
        load_cases(text, "x.toml")


def test_a_field_that_is_none_and_a_set_that_is_none():
    with pytest.raises(ConfigError, match="no such field"):
        trial(shipped_policy("homelab"), load_cases('[[case]]\nname="x"\nexpect="no"\nplan={colour=1}', "x.toml"))
    with pytest.raises(ConfigError, match="no policy set"):
        shipped_cases("wildwest")
    assert shipped_policy("team").name == "team"
