"""From a requested path to a path template and its variables."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

_GREEDY = frozenset({"{volume}"})
"""Variables that take the rest of the path: volume ids have slashes."""


class _Node:
    __slots__ = ("children", "template", "variable", "variable_child")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.template: str | None = None
        self.variable = ""
        self.variable_child: _Node | None = None


class Routes:
    """A tree of path parts; fixed parts win over variables."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._root = _Node()
        for template in templates:
            self._add(template)

    def _add(self, template: str) -> None:
        node = self._root
        for part in template.strip("/").split("/"):
            if not part.startswith("{"):
                node = node.children.setdefault(part, _Node())
                continue
            if node.variable_child is None:
                node.variable_child = _Node()
                node.variable = part
            node = node.variable_child
        node.template = template

    def match(self, path: str) -> tuple[str, dict[str, str]] | None:
        """The template and the value of each variable, or ``None`` when nothing answers there.

        The path is as it was sent: an encoded slash does not part anything. Empty parts do not count.
        """
        parts = [unquote(part) for part in path.split("/") if part]
        node, values = self._root, {}
        for index, part in enumerate(parts):
            child = node.children.get(part)
            if child is None:
                child = node.variable_child
                if child is None:
                    return None
                name = node.variable[1:-1]
                if node.variable in _GREEDY:
                    values[name] = "/".join(parts[index:])
                    return (child.template, values) if child.template else None
                values[name] = part
            node = child
        return (node.template, values) if node.template else None
