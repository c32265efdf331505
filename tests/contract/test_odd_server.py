"""The product on a cluster that nobody here simulated: other names, absent keys, 8.4-style answers."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import oddserver

from pveops.app.handles import status_of
from pveops.app.ops import connect
from pveops.app.processes import Child
from pveops.app.setup import USUAL, add_policy, add_principals, add_profile, arm, write_secret
from pveops.base.errors import AuthFailed, CertificateMismatch, InputError, NotAnswered, UnknownName
from pveops.base.secret import Secret
from pveops.clients.executor import ExecutorClient
from pveops.model.proposal import Origin
from pveops.settings.credentials import load_credential
from pveops.settings.home import Home
from pveops.testing.stack import run_cli
from pveops.testing.tls import self_signed

pytestmark = pytest.mark.slow

WHERE = "Rack2-Hyper-07"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    fingerprint = self_signed(folder / "server.pem")
    url, state, stop = oddserver.serve(folder / "server.pem")
    env = {
        "PVEOPS_HOME": str(folder / "home"),
        "PVEOPS_URLS": url,
        "PVEOPS_READ_TOKEN": oddserver.TOKEN,
        "PVEOPS_FINGERPRINTS": fingerprint,
        "PATH": "/usr/bin",
    }
    yield env, state, folder
    stop()


@pytest.fixture
def ops(odd):
    return connect(env=odd[0])


def test_every_table_has_its_columns_and_calls_absent_values_missing(ops):
    nodes, guests, storage, tasks, backups = ops.nodes(), ops.guests(), ops.storage(), ops.tasks(), ops.backups()
    assert list(nodes["node"]) == [WHERE, "n"]
    assert nodes.set_index("node").loc["n"].isna()["cpu_fraction"]
    assert list(guests["vmid"]) == [100, 4294967]
    assert guests["name"].isna().tolist() == [True, False]
    assert guests["mem_bytes"].isna().all()
    assert guests["mem_bytes"].dtype == "Int64"
    assert set(storage["storage"]) == {"nas.backup_1", "Z0"}
    assert len(tasks) == len(tasks.dropna(subset=["upid"]))
    assert backups["vmid"].tolist()[0] == 100
    assert backups["created"].isna().all()
    assert not backups.attrs["complete"], "the token may not see all backups, and that is said"
    assert any("AllocateSpace" in gap["needs"] for gap in backups.attrs["gaps"])
    assert guests.attrs["complete"]
    assert not ops.simulated
    assert "simulated" not in repr(ops)


def test_guests_are_found_by_odd_names(ops):
    guest = ops.guest("db.main-7")
    assert guest.status()["status"] == "running"
    assert guest.config()["digest"]
    assert guest.snapshots()["name"].tolist() == ["old"]
    metrics = guest.metrics("1h")
    assert 30 <= len(metrics) <= 61
    assert metrics["cpu_fraction"].isna().any()
    assert metrics["cpu_fraction"].notna().any()
    for bad, error in (("nobody", UnknownName), ("101/../../x", InputError), ("", InputError)):
        with pytest.raises(error):
            ops.guest(bad)


def test_tools_and_chat_work(ops):
    assert ops.tool("cluster.status").rows[0]["cluster"] is None
    fullest = ops.chat("which node is fullest")
    assert WHERE in fullest.said[0]
    assert "Not known for n" in fullest.said[0]
    assert ops.chat("show failed tasks").found[0].status in ("no_data", "partial")


def test_a_method_that_an_older_version_lacks_is_said(ops):
    with pytest.raises(NotAnswered, match="not implemented"):
        ops.reader.node_status("n")


def test_a_wrong_token_and_a_wrong_certificate(odd, tmp_path):
    env = {**odd[0], "PVEOPS_READ_TOKEN": oddserver.TOKEN[:-1] + "6"}
    with pytest.raises(AuthFailed, match="refused the token"):
        connect(env=env)
    other = self_signed(tmp_path / "other.pem")
    with pytest.raises(CertificateMismatch, match="not the one this profile trusts"):
        connect(env={**odd[0], "PVEOPS_FINGERPRINTS": other})
    plain = {key: value for key, value in odd[0].items() if key != "PVEOPS_FINGERPRINTS"}
    with pytest.raises(CertificateMismatch):
        connect(env=plain)
    with pytest.raises(CertificateMismatch):
        connect(env={**plain, "PVEOPS_CA": str(tmp_path / "other.pem")})
    assert connect(env={**plain, "PVEOPS_CA": str(odd[2] / "server.pem")}).nodes().shape[0] == 2


def test_changes_go_all_the_way(odd):
    env, state, folder = odd
    home = Home(Path(env["PVEOPS_HOME"])).make()
    add_principals(home, USUAL)
    add_policy(home)
    arm(home, by="test")
    fields = {
        "urls": [env["PVEOPS_URLS"]], "fingerprints": [env["PVEOPS_FINGERPRINTS"]], "read_token_file": write_secret(home, "r.token", Secret(oddserver.TOKEN)),
        "write_token_file": write_secret(home, "executor/w.token", Secret(oddserver.TOKEN)),
    }  # fmt: skip
    add_profile(home, "odd", fields, default=True)
    clean = {"PVEOPS_HOME": str(home.root), "PATH": env["PATH"]}
    credential = load_credential(home, "operator")
    client = ExecutorClient(home.socket, "operator", credential.token, credential.private_key)
    executor = Child("The executor", [sys.executable, "-m", "pveops", "executor", "run"], env=clean, log=folder / "executor.log").start()
    try:
        executor.wait_ready(lambda: run_cli(["executor", "status"], env=clean).returncode == 0, seconds=30)
        ops = connect(env=clean, origin=Origin(surface="test"))
        for tool, args in (
            ("guest.snapshot", {"guest": "4294967", "name": "before-1"}),
            ("guest.start", {"guest": "100"}),
            ("guest.migrate", {"guest": "4294967", "target": "n"}),
        ):
            before = len([call for call in state.seen if call[0] == "POST"])
            view = client.propose(ops.draft(tool, **args).plan, author="person", origin=Origin(surface="test"))
            assert view.proposal.status.value == "waiting", view.proposal.reason
            assert not view.proposal.simulated
            client.approve(view, channel="cli")
            deadline = time.monotonic() + 20
            while (status := status_of(client.proposal(view.proposal.id))) in ("waiting", "running") and time.monotonic() < deadline:
                time.sleep(0.1)
            assert status == "done", client.proposal(view.proposal.id).run.reason
            assert len([call for call in state.seen if call[0] == "POST"]) == before + 1
    finally:
        executor.stop()
