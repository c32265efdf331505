import os
import socket
import subprocess
import sys

import pytest

from pveops.base.errors import ConfigError
from pveops.base.files import OwnerLock, read_secret, short_socket_path, write_whole


def test_a_file_is_replaced_whole_and_private(tmp_path):
    path = tmp_path / "new" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(ConfigError, match="Cannot write"):
        write_whole(path, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    (tmp_path / "plain").touch()
    with pytest.raises(ConfigError, match="Cannot write"):
        write_whole(tmp_path / "plain" / "below", b"x")


@pytest.mark.parametrize(
    ("content", "mode", "message"), [("x", 0o644, "others may read"), ("  \n", 0o600, "is empty"), (None, 0, "Cannot read")]
)
def test_a_secret_file_must_be_there_private_and_full(tmp_path, content, mode, message):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        read_secret(path, "the token")


def test_a_secret_is_read_without_white_space(tmp_path):
    path = tmp_path / "token"
    path.write_text(" abc\n")
    path.chmod(0o600)
    assert read_secret(path, "the token").reveal() == "abc"


def test_a_second_owner_is_refused_by_name_and_the_lock_dies_with_its_process(tmp_path):
    path = tmp_path / "x.lock"
    code = (
        "import sys;from pathlib import Path;from pveops.base.files import OwnerLock;"
        "lock=OwnerLock(Path(sys.argv[1]),'It');lock.acquire();print('held',flush=True);sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    lock = OwnerLock(path, "It")
    with pytest.raises(ConfigError, match=rf"It already runs on .*\(pid {other.pid}\)"):
        lock.acquire()
    other.kill()
    other.communicate()
    lock.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
    lock.release()
    lock.acquire()
    lock.release()


def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = folder / "s.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(short_socket_path(path))
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(short_socket_path(path))
    assert path.is_socket()
    client.close()
    server.close()
    assert short_socket_path(tmp_path / "nowhere" / ("y" * 120)).startswith(str(tmp_path))
