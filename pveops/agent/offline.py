"""The offline grammar: a few sentences, understood exactly, without any model. What it does not understand it says so."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pveops.agent.ports import ModelReply, ToolCall
from pveops.tools.registry import Tool

_G = r"(?P<guest>[\w.:-]+(?:\s*(?:,|\band\b)\s*[\w.:-]+)*)"
_TAGS = r"[\w.+-]+(?:\s*(?:,|\band\b)\s*[\w.+-]+)*"
_POLITE = re.compile(r"^(?:please|could you|can you|would you|now)\s+|[.?!\s]+$|\s+please$", re.IGNORECASE)


def _guests(text: str) -> str:
    return ",".join(part for part in re.split(r"\s*(?:,|\band\b)\s*", text) if part)


def _mib(text: str) -> int:
    """``4 GiB``, ``4G`` and ``4096 MB`` mean the same: whoever gives memory to a guest thinks in powers of two."""
    number, unit = re.fullmatch(r"(\d+)\s*([MG]).*", text, re.IGNORECASE).groups()  # type: ignore[union-attr] # the rule has matched it
    return int(number) * (1024 if unit.upper() == "G" else 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of sentence: a pattern, the tool it means, how its groups become arguments, and an example for help texts."""

    pattern: re.Pattern[str]
    tool: str
    args: Callable[[re.Match[str]], dict[str, object]]
    example: str


def _rule(pattern: str, tool: str, example: str, args: Callable[[re.Match[str]], dict[str, object]] = lambda _match: {}) -> Rule:
    return Rule(re.compile(rf"^(?:{pattern})$", re.IGNORECASE), tool, args, example)


def _guest(match: re.Match[str]) -> dict[str, object]:
    return {"guest": _guests(match["guest"])}


_BY = {"memory": "memory", "ram": "memory", "cpu": "cpu", "disk": "disk"}

RULES: tuple[Rule, ...] = (
    _rule(rf"(?:start|boot|power on)\s+{_G}", "guest.start", "start web-1", _guest),
    _rule(rf"(?:shut\s*down|power off|stop)\s+{_G}", "guest.shutdown", "shut down web-1", _guest),
    _rule(rf"(?:restart|reboot)\s+{_G}", "guest.reboot", "restart web-1", _guest),
    _rule(
        rf"(?:take a\s+|make a\s+)?snapshot(?:\s+of)?\s+{_G}\s+(?:as|called|named)\s+(?P<name>\S+)", "guest.snapshot", "snapshot 101 as before-upgrade",
        lambda match: {"guest": _guests(match["guest"]), "name": match["name"]},
    ),
    _rule(
        rf"(?:migrate|move)\s+{_G}\s+(?:to|onto)\s+(?:node\s+)?(?P<target>\S+)", "guest.migrate", "migrate 101 to pve2",
        lambda match: {"guest": _guests(match["guest"]), "target": match["target"]},
    ),
    _rule(
        rf"tag\s+{_G}\s+(?:with|as)\s+(?P<tags>{_TAGS})", "guest.set-tags", "tag 101 with web",
        lambda match: {"guest": _guests(match["guest"]), "add": _guests(match["tags"])},
    ),
    _rule(
        rf"(?:remove|take)\s+(?:the\s+)?tags?\s+(?P<tags>{_TAGS})\s+(?:from|off)\s+{_G}", "guest.set-tags", "take tag web off 101",
        lambda match: {"guest": _guests(match["guest"]), "remove": _guests(match["tags"])},
    ),
    _rule(
        rf"(?:set|change)\s+(?:the\s+)?cores\s+of\s+{_G}\s+to\s+(?P<number>\d+)|give\s+(?P<to>[\w.:-]+)\s+(?P<count>\d+)\s+cores", "guest.set-config",
        "set cores of 101 to 4", lambda match: {"guest": _guests(match["guest"] or match["to"]), "cores": int(match["number"] or match["count"])},
    ),
    _rule(
        rf"(?:set|change)\s+(?:the\s+)?(?:memory|ram)\s+of\s+{_G}\s+to\s+(?P<amount>\d+\s*[MG]i?B?)", "guest.set-config", "set memory of 101 to 4 GiB",
        lambda match: {"guest": _guests(match["guest"]), "memory_mib": _mib(match["amount"])},
    ),
    _rule(
        r"which node (?:is|has) (?:the )?(?:fullest|most (?:loaded|used|busy)|busiest)(?: (?:by|in|of) (?P<by>memory|ram|cpu|disk))?", "node.fullest",
        "which node is fullest", lambda match: {"by": _BY[(match["by"] or "memory").lower()]},
    ),
    _rule(
        r"(?:show|list|what are)?\s*(?:me\s+)?(?:the\s+)?failed tasks(?:\s+(?:of|since|in|for)\s+(?:the\s+)?(?:last\s+)?(?P<since>\d+\s*[mhdw]))?", "task.list",
        "show failed tasks", lambda match: {"failed": True, **({"since": match["since"].replace(" ", "")} if match["since"] else {})},
    ),
    _rule(r"(?:show|list)\s+(?:me\s+)?(?:the\s+)?(?:recent\s+)?tasks", "task.list", "show tasks"),
    _rule(r"(?:show|list)\s+(?:me\s+)?(?:the\s+|all\s+)?nodes", "node.list", "show nodes"),
    _rule(
        r"(?:show|list|which)\s+(?:me\s+)?(?:the\s+|all\s+)?(?P<status>running|stopped)?\s*(?:guests|vms|containers)(?:\s+(?:are\s+)?on\s+(?P<node>[\w-]+))?",
        "guest.list", "show stopped guests",
        lambda match: {key: value for key, value in (("status", (match["status"] or "").lower()), ("node", match["node"] or "")) if value},
    ),
    _rule(r"(?:show|list)\s+(?:me\s+)?(?:the\s+)?stor(?:age|ages)", "storage.list", "show storage"),
    _rule(rf"(?:show|list)\s+(?:me\s+)?(?:the\s+)?backups(?:\s+(?:of|for)\s+{_G})?", "backup.list", "show backups of web-1",
          lambda match: {"guest": match["guest"]} if match["guest"] else {}),
    _rule(rf"(?:show|list)\s+(?:me\s+)?(?:the\s+)?snapshots\s+(?:of|for)\s+{_G}", "guest.snapshots", "show snapshots of 101", _guest),
    _rule(rf"(?:show|how is|what is with|status of)\s+{_G}", "guest.show", "show web-1", _guest),
    _rule(r"(?:how is the cluster|cluster status|status)", "cluster.status", "how is the cluster"),
)  # fmt: skip


class OfflineGrammar:
    """Understands the sentences of ``RULES`` and no others."""

    name = "offline-grammar"

    @property
    def notice(self) -> str:
        """Said with every answer."""
        return "Offline mode: a fixed grammar, no language model. Nothing leaves this machine."

    def reply(self, text: str, tools: Sequence[Tool]) -> ModelReply:
        """The tool that the sentence means, or what would be understood."""
        known = {tool.name for tool in tools}
        plain = self._plain(text)
        if plain.lower() in ("", "help", "what can you do", "what do you understand"):
            return ModelReply(text=f"I understand sentences like: {self._examples()}.")
        for rule in RULES:
            match = rule.pattern.match(plain)
            if match and rule.tool in known:
                return ModelReply(calls=(ToolCall(rule.tool, rule.args(match)),))
        first = plain.lower().partition(" ")[0]
        same = [rule.example for rule in RULES if rule.example.partition(" ")[0] == first]
        near = difflib.get_close_matches(plain.lower(), [rule.example for rule in RULES], n=1, cutoff=0.5) if len(same) != 1 else same
        hint = f" Did you mean something like “{near[0]}”?" if near else ""
        return ModelReply(
            text=f"I did not understand “{plain[:120]}”, so nothing was done.{hint} I understand sentences like: {self._examples()}."
        )

    @staticmethod
    def _plain(text: str) -> str:
        plain, before = " ".join(text.split()), None
        while plain != before:
            before, plain = plain, _POLITE.sub("", plain)
        return plain

    @staticmethod
    def _examples() -> str:
        return "; ".join(f"“{rule.example}”" for rule in RULES)
