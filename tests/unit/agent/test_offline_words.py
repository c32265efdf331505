"""What the offline grammar says when it does not understand."""

import pytest

from pveops.agent.offline import OfflineGrammar
from pveops.tools.library import standard


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("migrate web-1", "migrate 101 to pve2"),
        ("snapshot web-1", "snapshot 101 as before-upgrade"),
        ("show faild tasks", "show failed tasks"),
    ],
)
def test_the_nearest_sentence_has_the_same_verb(asked, offered):
    reply = OfflineGrammar().reply(asked, list(standard()))
    assert reply.calls == ()
    assert f"Did you mean something like “{offered}”?" in reply.text


def test_a_very_long_sentence_is_not_repeated_in_full():
    assert len(OfflineGrammar().reply("x" * 20_000, list(standard())).text) < 700


@pytest.mark.parametrize(
    ("asked", "tool", "args"),
    [
        ("tag web-1 with prod and Blue", "guest.set-tags", {"guest": "web-1", "add": "prod,Blue"}),
        ("take the tag old off 101, 102", "guest.set-tags", {"guest": "101,102", "remove": "old"}),
        ("remove tags a, b from tag:lab", "guest.set-tags", {"guest": "tag:lab", "remove": "a,b"}),
        ("set cores of 101 to 4", "guest.set-config", {"guest": "101", "cores": 4}),
        ("please give web-1 2 cores", "guest.set-config", {"guest": "web-1", "cores": 2}),
        ("change the memory of 101 to 4 GiB", "guest.set-config", {"guest": "101", "memory_mib": 4096}),
        ("set ram of 101 to 512M", "guest.set-config", {"guest": "101", "memory_mib": 512}),
    ],
)
def test_tags_and_settings(asked, tool, args):
    (call,) = OfflineGrammar().reply(asked, list(standard())).calls
    assert (call.tool, call.args) == (tool, args)


@pytest.mark.parametrize("asked", ["set memory of 101 to 4", "set cores of 101 to many", "tag 101", "tag 101 with"])
def test_half_a_setting_is_not_understood(asked):
    assert OfflineGrammar().reply(asked, list(standard())).calls == ()
