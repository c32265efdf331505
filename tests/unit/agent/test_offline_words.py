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
