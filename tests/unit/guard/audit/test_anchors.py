import socket
import subprocess

import pytest

from pveops.base.errors import AuditError, ConfigError
from pveops.guard.audit.anchors import FileAnchor, GitAnchor, SyslogAnchor, anchor_of
from pveops.guard.audit.checkpoint import checkpoints_in, sign_checkpoint
from pveops.model.claims import new_key

KEY, _ = new_key()


def made(size):
    return sign_checkpoint(KEY, executor="x-0000000000000001", at="2026-11-21T10:00:00.000Z", size=size, root=b"\x01" * 32, head="2" * 64)


def test_a_file(tmp_path):
    anchor = anchor_of(f"file:{tmp_path}/elsewhere.jsonl")
    assert anchor.kept() == []
    anchor.put(made(1))
    anchor.put(made(2))
    assert [one.size for one in anchor.kept()] == [1, 2]
    with pytest.raises(AuditError, match="cannot be written"):
        FileAnchor(tmp_path).put(made(1))
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(AuditError, match="No space left"):
        FileAnchor(tmp_path / "full").put(made(1))


def test_a_file_that_takes_only_a_part_is_said(tmp_path, monkeypatch):
    import os

    monkeypatch.setattr(os, "write", lambda handle, data: 3)
    with pytest.raises(AuditError, match="No space left"):
        FileAnchor(tmp_path / "short").put(made(1))


def test_syslog(tmp_path):
    path = tmp_path / "log.sock"
    anchor = anchor_of(f"syslog:{path}")
    with pytest.raises(AuditError, match="does not listen"):
        anchor.put(made(1))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(2)
        anchor.put(made(3))
        said = daemon.recv(8192).decode()
    assert said.startswith("<85>pveops[")
    assert list(checkpoints_in(said)) == [made(3)]
    assert anchor.kept() == []
    assert anchor_of("syslog").name == SyslogAnchor().name == "syslog"


def test_a_git_repository_keeps_what_its_file_no_longer_holds(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    anchor = anchor_of(f"git:{tmp_path}")
    assert anchor.kept() == []
    anchor.put(made(1))
    anchor.put(made(2))
    (tmp_path / "x-0000000000000001.jsonl").write_text("")
    anchor.put(made(3))
    assert {one.size for one in anchor.kept()} == {1, 2, 3}
    said = subprocess.run(["git", "-C", str(tmp_path), "log", "--format=%s %an"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["3 records pveops", "2 records pveops", "1 records pveops"]


def test_a_repository_that_is_none(tmp_path, monkeypatch):
    with pytest.raises(AuditError, match="cannot be written"):
        GitAnchor(tmp_path / "none").put(made(1))
    with pytest.raises(AuditError, match=r"git in .* says"):
        GitAnchor(tmp_path).put(made(1))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AuditError, match="git does not run"):
        GitAnchor(tmp_path).put(made(1))


@pytest.mark.parametrize("text", ["", "file:relative", "git:", "syslog:relative", "s3://bucket", "/path"])
def test_what_is_no_anchor(text):
    with pytest.raises(ConfigError, match="no anchor"):
        anchor_of(text)
