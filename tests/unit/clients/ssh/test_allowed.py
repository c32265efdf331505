"""What may run on a node: the list itself, and that nothing beside it fits."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.clients.ssh.allowed import allowed, commands

GOOD = {
    "smartctl -j -a /dev/sda": "smartctl -j -a {disk}",
    "smartctl -j -a '/dev/nvme0n1'": "smartctl -j -a {disk}",
    "smartctl -j -x /dev/disk/by-id/ata-X_1.2": "smartctl -j -x {disk}",
    "journalctl -o json --no-pager -n 50 -u pvestatd.service --since -2h": "journalctl",
    "journalctl -o json --no-pager -n 50 -p err": "journalctl",
    "cat /proc/pressure/io": "cat /proc/pressure/",
    "zpool status -v rpool": "zpool status [-v]",
    "zpool status": "zpool status [-v]",
    "ip -j addr show vmbr0.12": "ip -j addr",
    "sysctl net.ipv4.ip_forward": "sysctl {key}",
}
BAD = [
    "",
    "rm -rf /",
    "smartctl -j -a /dev/sda /dev/sdb",
    "smartctl -t long /dev/sda",
    "smartctl -j -a '/dev/sda; reboot'",
    "smartctl -j -a /dev/../etc/shadow",
    "smartctl -j -a /dev/sda\n",
    "cat /etc/shadow",
    "cat /proc/pressure/io /etc/shadow",
    "cat /proc/pressure/../../etc/shadow",
    "journalctl -o json --no-pager -n 50 --vacuum-size=1M",
    "journalctl -o json --no-pager -n 50 -u --rotate",
    "zpool status -v rpool -x",
    "zpool destroy rpool",
    "sysctl net.ipv4.ip_forward=1",
    "sysctl -w net.ipv4.ip_forward",
    "ip -j addr show -x",
    "ip addr add 10.0.0.1/8 dev eth0",
    "dmesg -J -c",
    "ethtool -s eth0",
    "IP -j addr",
    "uptime | sh",
    "uptime; id",
    "$(id)",
    "/usr/bin/uptime",
    "sudo uptime",
]


@pytest.mark.parametrize(("command", "usage"), GOOD.items())
def test_what_is_listed_is_found(command, usage):
    which, words = allowed(command)
    assert which.usage.startswith(usage)
    if "\n" not in command and not command.endswith(" "):
        assert words == tuple(shlex.split(command))


@pytest.mark.parametrize("command", [one for one in BAD if one != "smartctl -j -a /dev/sda\n"])
def test_what_is_not_listed_is_refused(command):
    with pytest.raises(InputError, match="is none of the"):
        allowed(command)


def test_a_quote_that_is_not_closed_is_refused():
    with pytest.raises(InputError, match="is no command line"):
        allowed("uptime '")


def test_the_hint_names_what_is_near():
    with pytest.raises(InputError) as refused:
        allowed("smartctl -a /dev/sda")
    assert "smartctl -j -a {disk}" in refused.value.hint
    with pytest.raises(InputError) as refused:
        allowed("sensor -j")
    assert "sensors" in refused.value.hint


def test_the_list_is_long_enough_and_each_line_once():
    usages = [one.usage for one in commands()]
    assert len(usages) >= 50
    assert len(usages) == len(set(usages))
    for one in commands():
        assert one.doc
        assert bool(one.columns) == (one.shape in ("columns", "columns+", "tsv"))


WORD = st.one_of(
    st.sampled_from(sorted({word for one in commands() for word in one.usage.split()} | {"/dev/sda", "rpool", "5", "-2h"})),
    st.text(max_size=20),
)


@given(st.lists(WORD, max_size=8))
def test_no_word_that_a_shell_would_read_gets_through(words):
    command = shlex.join(words)
    try:
        _, found = allowed(command)
    except InputError:
        return
    assert shlex.join(found) == " ".join(found)  # nothing in it needs quoting: a shell sees the same words
