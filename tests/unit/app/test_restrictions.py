"""Plug-ins that tighten the policy, as real packages on the path."""

import sys

import pytest

from pveops.app.restrictions import restrictions
from pveops.base.errors import ConfigError
from pveops.guard.policy import Policy, shipped
from pveops.guard.principals import Principal

OPERATOR = Principal(name="anna", kind="person", roles=("operator",), token_sha256="")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages where Python finds them, as an installer does."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name, source, entry="ask", version="1.2"):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[pveops.policy]\n{name} = {name}:{entry}\n", encoding="utf-8")
        return info

    yield put
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def policy(tmp_path):
    folder = tmp_path / "policy"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        (folder / "homelab.cedar").write_text(shipped("homelab"), encoding="utf-8")
        (folder / "homelab.cedar").chmod(0o600)
    return Policy(folder, restrictions())


def test_without_plug_ins_there_are_none():
    assert restrictions() == ()


def test_a_plug_in_says_no_and_never_yes(install, tmp_path):
    before = policy(tmp_path).hash
    install("zz_quiet", "def ask(question): return ''")
    install("night_watch", "def ask(question): return 'not at night' if question.action == 'manage' else None")
    assert [one.name for one in restrictions()] == ["night_watch (night_watch 1.2)", "zz_quiet (zz_quiet 1.2)"]
    made = policy(tmp_path)
    verdict = made.simple("manage", OPERATOR, "all")
    assert (verdict.decision, verdict.rule, verdict.text) == ("deny", "plugin:night_watch (night_watch 1.2)", "not at night")
    assert made.simple("read_audit", OPERATOR, "all").decision == "confirm"
    assert made.simple("kill_on", OPERATOR, "all").decision == "confirm", "what makes the world safer is nobody's to restrict"
    viewer = Principal(name="v", kind="service", roles=("viewer",), token_sha256="")
    assert made.simple("manage", viewer, "all").rule == "only-people-decide", "a plug-in permits nothing"
    assert made.hash not in ("", before), "plug-ins are part of the policy that approvals are bound to"
    assert "night_watch (night_watch 1.2)" in made.name


def test_another_version_is_another_policy(install, tmp_path):
    info = install("watch", "def ask(question): return ''")
    before = policy(tmp_path).hash
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watch\nVersion: 1.3\n", encoding="utf-8")
    assert policy(tmp_path).hash != before


@pytest.mark.parametrize(
    ("source", "entry", "said"),
    [
        ("raise RuntimeError('broken wheel')", "ask", "cannot be loaded: broken wheel"),
        ("import no_such_module_at_all", "ask", "cannot be loaded"),
        ("def other(question): return ''", "ask", "cannot be loaded"),
        ("ask = 'no'", "ask", "is no function"),
    ],
)
def test_an_executor_does_not_start_without_its_restrictions(install, source, entry, said):
    install("broken", source, entry)
    with pytest.raises(ConfigError, match=said):
        restrictions()


def test_a_plug_in_that_fails_says_no(install, tmp_path):
    install("shaky", "def ask(question): return question.nosuch")
    verdict = policy(tmp_path).simple("manage", OPERATOR, "all")
    assert (verdict.decision, verdict.text) == ("deny", "The plug-in shaky (shaky 1.2) failed (AttributeError).")
