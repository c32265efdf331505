"""Reading over SSH from a real sshd on loopback, one per node of a simulated cluster that stands beside it."""

import getpass
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.errors import AuthFailed, CertificateMismatch, ConfigError, InputError, NoAnswer, Unreachable
from pveops.clients.ssh.shell import Shell, Way
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


class Sshd:
    """A daemon of the test's own: its host key, who may come in, and its log."""

    def __init__(self, folder, user_key):
        self.port, self.log = free_port(), folder / "log"
        keygen(folder / "host")
        shutil.copy(f"{user_key}.pub", folder / "may")
        (folder / "config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/may\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks its unprivileged half in
        self._process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "config", "-E", self.log], stdin=subprocess.DEVNULL)
        self.known = folder / "known"
        self.tell(folder / "host.pub")
        until = time.monotonic() + 20
        while "Server listening" not in (self.log.read_text() if self.log.exists() else ""):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, "sshd does not listen"
            time.sleep(0.05)

    def tell(self, public_key):
        self.known.write_text(f"[127.0.0.1]:{self.port} {public_key.read_text()}")

    def came_in(self):
        return self.log.read_text().count("Accepted publickey")

    def stop(self):
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    if not (Path("/usr/sbin/sshd").exists() and shutil.which("ssh")):
        pytest.skip("sshd is not installed (Debian: apt install openssh-server openssh-client)")
    folder = tmp_path_factory.mktemp("sshd")
    key = keygen(folder / "key")
    sshd = Sshd(folder, key)
    way = Way("127.0.0.1", getpass.getuser(), sshd.port, str(key), str(sshd.known), "/dev/null")
    yield SimpleNamespace(sshd=sshd, way=way, key=key, folder=folder)
    sshd.stop()


@pytest.fixture
def shell():
    with Shell() as running:
        yield running


def changed(way, **fields):
    return Way(**{name: getattr(way, name) for name in Way.__slots__} | fields)


def test_one_connection_serves_many_commands(door, shell):
    before = door.sshd.came_in()
    for _ in range(3):
        output = shell.run(door.way, ("cat", "/proc/loadavg"), "pve1")
        assert output.exit_code == 0
        assert len(output.stdout.split()) == 5
    assert door.sshd.came_in() == before + 1


def test_words_arrive_as_they_are(door, shell):
    for word in ("a b", "$HOME", "`id`", "'", '"', ";", "a\nb", "*", "\\"):
        assert shell.run(door.way, ("printf", "%s", word), "pve1").stdout == word


def test_how_a_command_ended_is_told(door, shell):
    output = shell.run(door.way, ("ls", "/nowhere"), "pve1")
    assert output.exit_code == 2
    assert "/nowhere" in output.stderr


def test_a_host_key_that_is_not_known_or_changed_ends_it(door, shell, tmp_path):
    before = door.sshd.came_in()
    for content in ("", f"[127.0.0.1]:{door.sshd.port} {(keygen(tmp_path / 'other').with_suffix('.pub')).read_text()}"):
        (tmp_path / "known").write_text(content)
        with pytest.raises(CertificateMismatch, match="host key of pve1") as refused:
            shell.run(changed(door.way, known_hosts=str(tmp_path / "known")), ("uptime",), "pve1")
        assert "Nothing ran" in refused.value.hint
    assert door.sshd.came_in() == before


def test_who_may_not_come_in_is_told_so(door, shell, tmp_path):
    with pytest.raises(AuthFailed, match=r"pve1 .* does not let .* in over SSH"):
        shell.run(changed(door.way, key_file=str(keygen(tmp_path / "stranger"))), ("uptime",), "pve1")


def test_a_port_without_sshd_is_told_at_once(door, shell):
    with pytest.raises(Unreachable, match=r"gives no SSH connection: .*[Cc]onnection refused"):
        shell.run(changed(door.way, port=free_port()), ("uptime",), "pve1")


def test_what_takes_too_long_is_ended(door, shell):
    with pytest.raises(NoAnswer, match="has not finished `sleep 60` within 2 s"):
        shell.run(changed(door.way, timeout_s=2.0), ("sleep", "60"), "pve1")
    assert shell.run(door.way, ("cat", "/proc/loadavg"), "pve1").exit_code == 0


def test_a_kept_connection_is_gone_after_the_end(door):
    with Shell() as shell:
        shell.run(door.way, ("uptime",), "pve1")
        command, folder = next(iter(shell._ends.values())), shell._folder
        assert any(folder.iterdir())
    assert not folder.exists()
    assert command[-3:] == ["exit", "--", "127.0.0.1"]


@pytest.fixture(scope="module")
def ops(door, tmp_path_factory):
    dead = free_port()
    config = door.folder / "ssh_config"
    config.write_text(f"Host gone\n  HostName 127.0.0.1\n  Port {dead}\nHost *\n  Port {door.sshd.port}\n")
    told = f"""
[profiles.sim.ssh]
enabled = true
user = "{getpass.getuser()}"
key_file = "{door.key}"
known_hosts = "{door.sshd.known}"
config = "{config}"
hosts = {{ pve1 = "127.0.0.1", pve2 = "127.0.0.1", pve3 = "gone" }}
"""
    with Stack(tmp_path_factory.mktemp("ssh-stack"), guests=5) as stack:
        stack.home.config.write_text(stack.home.config.read_text() + told)
        running = stack.ops()
        yield running
        running.ssh.close()


def test_one_node_gives_data(ops):
    answer = ops.ssh.run("pve1", "df -B1 --output=source,fstype,size,used,avail,pcent,target")
    frame = answer.frame()
    assert "/" in set(frame["mountpoint"])
    assert (frame["size_bytes"] >= frame["used_bytes"]).all()
    assert ops.ssh.run("pve1", "cat /etc/os-release").data["ID"]
    assert ops.ssh.run("pve2", "uname -a").text.startswith("Linux")


def test_many_nodes_give_one_table_and_those_that_do_not_are_named(ops):
    frame = ops.ssh.read("ps --no-headers -eo pid,ppid,stat,pcpu,rss,etimes,comm")
    assert set(frame["node"]) == {"pve1", "pve2"}
    assert (frame["rss_kib"] >= 0).all()
    assert frame.attrs["complete"] is False
    assert [gap["what"] for gap in frame.attrs["gaps"]] == ["pve3"]


def test_nothing_beside_the_list_reaches_a_node(ops, door):
    before = door.sshd.log.read_text()
    with pytest.raises(InputError, match="is none of the"):
        ops.ssh.run("pve1", "uptime; touch /tmp/pveops-was-here")
    with pytest.raises(InputError, match="There is no node pve9"):
        ops.ssh.run("pve9", "uptime")
    assert door.sshd.log.read_text() == before


def test_it_is_off_unless_the_profile_says_otherwise(tmp_path):
    with Stack(tmp_path, guests=5) as stack, pytest.raises(ConfigError, match="SSH is off in profile"):
        stack.ops().ssh.run("pve1", "uptime")
