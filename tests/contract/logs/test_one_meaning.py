"""One query, one meaning: the embedded store and the measure in Python give the same lines; test_elasticsearch.py asks a real server."""

import pytest

from pveops.clients.logs.language import parse
from pveops.clients.logs.matching import matches
from pveops.model.logs import LogLine

START_MS = 1_790_000_000_000
DAY_MS = 86_400_000
TEXTS = (
    "starting task UPID:pve1:0001A2B3:00C4D5E6:6712AB34:vzdump:101:root@pam:",
    "ERROR: Backup of VM 101 failed - no space left on device",
    "error: connect to 10.0.1.5 port 8006 refused",
    "link eno1 down, peer 10.0.1.50 lost",
    "link eno1 up again",
    "vdev_state changed: ONLINE to DEGRADED",
    "vdev state is fine",
    "zfs: pool rpool is DEGRADED, 1 data errors",
    "Verbindung zu Größe=5 verloren – Übertragung läuft",
    "no quorum; 2 of 3 votes",
    "quorum regained",
    "smartd: /dev/sda, SMART Prefailure Attribute: 5 Reallocated_Sector_Ct changed from 100 to 99",
    "pvedaemon[1234]: <root@pam> successful auth for user 'root@pam'",
    "authentication failure; rhost=::ffff:10.0.1.5 user=root@pam msg=Authentication failed",
    "a AND b OR not c",
    "path /etc/pve/nodes/pve1/qemu-server/101.conf written",
    "%s [unlikely] *star* ?question?",
    "",
    "error error error",
    "Out of memory: Killed process 4711 (kvm) total-vm:8388608kB",
)
UPID = "UPID:pve1:0001A2B3:00C4D5E6:6712AB34:vzdump:101:root@pam:"
HOSTS = ("pve1", "pve2", "PVE-3", "pbs.example")
UNITS = ("pvedaemon", "kernel", "vzdump", "")
LINES = tuple(
    LogLine(
        time_ms=START_MS + number * 60_000,
        host=HOSTS[number % 4],
        unit=UNITS[number % 3 if number % 7 else 3],
        severity=number % 8,
        vmid=(101, 102, None, 2147483648)[number % 4 if number % 5 else 2],
        source="syslog" if number % 2 else "task",
        message=TEXTS[number % len(TEXTS)],
        mark=str(number),
        task=UPID if number % 9 == 0 else "",
    )
    for number in range(200)
)
QUERIES = (
    "*", "error", "ERROR", "Error", "quorum", "no quorum", '"no quorum"', '"quorum no"', "10.0.1.5", '"10.0.1.5"', "10.0.1", "10.0.1.50", "10",
    "vdev_state", "vdev", "state", '"vdev state"', "Reallocated_Sector_Ct", "reallocated", "Größe", "größe", "Übertragung", "GRÖSSE",
    "err*", "*ror", "e?ror", "*a*", "qu*m", "re??ined", "*_state", "10*", "zzz*", "*zzz", "vdev_*", "b*",
    "error -backup", "error NOT backup", "NOT error", "-error", "NOT *", "NOT (error OR quorum)", "NOT NOT error",
    "error AND device", "error OR quorum", "(error OR quorum) AND pool", "(error quorum) OR pool", "error (backup OR connect)", "+error +backup",
    "host:pve1", "host:PVE1", "host:PVE-3", "host:pve*", "host:p?e1", "host:*example", "host:pbs.example", 'host:"pbs.example"', "NOT host:pve1",
    "host:(pve1 OR pve2)", "unit:kernel error", "unit:*", "NOT unit:*", "source:task", "source:(task OR syslog)", "unit:k*",
    "severity:3", "severity:err", "severity:[0 TO 3]", "severity:{0 TO 3}", "severity:[0 TO 3}", "severity:>4", "severity:>=warning", "severity:<=err",
    "severity:[* TO 2]", "severity:[5 TO *]", "severity:[* TO *]", "vmid:101", "vmid:(101 OR 102)", "NOT vmid:101", "vmid:*", "NOT vmid:*", "vmid:>1000",
    "vmid:2147483648", "time:[2026-09-21T00:00:00Z TO *]", 'time:>"2026-09-21T14:00:00Z"', "time:<2026-09-22", "message:error", "message:(error backup)",
    'message:"space left"', "root@pam", '"root@pam"', '"/etc/pve"', "qemu-server", '"/dev/sda"', "101.conf", '"a AND b"', '"AND"', "UPID*", "auth*",
    "vzdump 101", '"star"', "(host:pve1 error) OR (host:pve2 severity:<=3)", "NOT (host:pve1 AND severity:[0 TO 4])", "error -host:pve1 -vmid:102",
    f'task:"{UPID}"', f'task:"{UPID}" error', "task:*", "NOT task:*", "task:UPID*vzdump*",
)  # fmt: skip


def expected(text):
    return {line.uid for line in LINES if matches(parse(text), line)}


@pytest.fixture(scope="module")
def filled_embedded(embedded):
    assert embedded.add(LINES) == len(LINES)
    return embedded


@pytest.mark.parametrize("text", QUERIES)
def test_embedded(filled_embedded, text):
    found = filled_embedded.search(parse(text), START_MS, START_MS + DAY_MS, 1000)
    assert {line.uid for line in found.lines} == expected(text)
    assert found.total == len(found.lines)


def test_the_queries_tell_lines_apart():
    sizes = [len(expected(text)) for text in QUERIES]
    assert sum(0 < size < len(LINES) for size in sizes) > 70
    assert len({frozenset(expected(text)) for text in QUERIES}) > 50
