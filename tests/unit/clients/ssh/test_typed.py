"""Output as data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.errors import NoAnswer
from pveops.clients.ssh.allowed import Command, allowed
from pveops.clients.ssh.typed import data_of, rows_of


def read(command, text):
    return data_of(allowed(command)[0], text)


def test_columns_below_a_header():
    text = "Filesystem Type 1B-blocks Used Avail Use% Mounted on\n/dev/sda1 ext4 1000 600 400 60% /mnt/a b\ntmpfs tmpfs 10 0 10 - /run\n"
    rows = read("df -B1 --output=source,fstype,size,used,avail,pcent,target", text)
    assert rows[0] == {"source": "/dev/sda1", "fstype": "ext4", "size_bytes": 1000, "used_bytes": 600, "available_bytes": 400, "used_percent": 60, "mountpoint": "/mnt/a b"}  # fmt: skip
    assert rows[1]["used_percent"] is None


def test_tabs_keep_empty_cells():
    text = "rpool\t1000\t400\t600\t3\t40\t1.00\tONLINE\n"
    rows = read("zpool list -Hp -o name,size,alloc,free,frag,cap,dedup,health", text)
    assert rows == [{"name": "rpool", "size_bytes": 1000, "alloc_bytes": 400, "free_bytes": 600, "frag_percent": 3, "used_percent": 40, "dedup": 1.0, "health": "ONLINE"}]  # fmt: skip


def test_names_and_values():
    text = "Cluster information\n-------------------\nName:             lab\nQuorate:          Yes\nNodeid:           0x00000001\nVotes: 1\nVotes: 2\n"
    assert read("pvecm status", text) == {"Name": "lab", "Quorate": "Yes", "Nodeid": "0x00000001", "Votes": [1, 2]}
    assert read("cat /etc/os-release", 'ID=debian\nNAME="Debian: GNU/Linux"\n') == {"ID": "debian", "NAME": "Debian: GNU/Linux"}


def test_json_and_its_rows():
    lines = read("journalctl -o json --no-pager -n 2", '{"MESSAGE":"a"}\n{"MESSAGE":"b"}\n')
    assert [row["MESSAGE"] for row in rows_of(lines)] == ["a", "b"]
    block = read("lsblk -J -b", '{"blockdevices":[{"name":"sda","size":10}]}')
    assert rows_of(block) == [{"name": "sda", "size": 10}]
    assert rows_of(read("sensors -j", '{"chip":{"temp1":{"temp1_input":40.0}}}')) == [
        {"name": "chip", "value": {"temp1": {"temp1_input": 40.0}}}
    ]
    assert rows_of([1]) == [{"value": 1}]
    assert rows_of(5) == [{"value": 5}]
    assert rows_of("a\nb") == [{"line": "a"}, {"line": "b"}]


def test_what_does_not_fit_is_told_and_not_guessed():
    with pytest.raises(NoAnswer, match="cannot be read as json"):
        read("sensors -j", "No sensors found!")
    with pytest.raises(NoAnswer, match="9 cells where 8 were expected"):
        read("zpool list -Hp -o name,size,alloc,free,frag,cap,dedup,health", "a\tb\tc\td\te\tf\tg\th\ti\n")


@given(st.text())
def test_text_comes_back_as_it_is(text):
    assert data_of(Command("uptime", "text", (), "x"), text) == text


@given(st.text(), st.sampled_from(["json", "jsonl", "keys", "columns", "columns+", "tsv"]))
def test_any_output_is_data_or_one_clear_error(text, shape):
    try:
        data = data_of(Command("x", shape, ("a", "b"), "x"), text)
    except NoAnswer:
        return
    assert all(isinstance(row, dict) for row in rows_of(data))
