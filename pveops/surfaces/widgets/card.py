"""The confirm card as an anywidget. It works while a cell is busy: presses come in over kernel subshells and are worked on elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import anywidget
import traitlets

from pveops.present.controller import CardController
from pveops.present.esm import card_module
from pveops.present.feed import Feed
from pveops.present.ports import Decider, Redraft
from pveops.present.tokens import FONTS, static

_LOG = logging.getLogger("pveops.cards")
_FEEDS: WeakKeyDictionary[Decider, Feed] = WeakKeyDictionary()
_FEEDS_LOCK = threading.Lock()


class CardWidget(anywidget.AnyWidget):
    """Shows what a ``CardController`` says. Nothing is ever restored into it: it starts with what the executor tells now."""

    _esm = card_module()
    view: Any = traitlets.Dict().tag(sync=True)
    acks: Any = traitlets.List().tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._showing = threading.Lock()
        self.controller: CardController | None = None
        _answer_where_asked(self.comm)
        self.on_msg(self._hear)

    def show(self, payload: dict[str, Any], acks: list[str]) -> None:
        """Put a payload and acknowledgements on the screen; an empty payload leaves what is there."""
        with self._showing, self.hold_sync():
            if payload:
                self.view = payload
            self.acks = acks

    def _hear(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, Mapping) and content.get("type") == "fonts":
            faces = [{"family": family, "weight": weights} for family, _, weights in FONTS]
            self.send({"type": "fonts", "faces": faces}, [static(file) for _, file, _ in FONTS])
        elif self.controller is not None:
            self.controller.receive(content)


def desk(
    decider: Decider, *, again: Redraft | None = None, undo: Redraft | None = None, rehearse: Redraft | None = None
) -> tuple[CardWidget, CardController]:
    """A widget with its controller, still empty: ``controller.open(view)`` puts a card on it."""
    widget = CardWidget()
    controller = CardController(decider, widget.show, feed_of(decider), again=again, undo=undo, rehearse=rehearse)
    widget.controller = controller
    return widget, controller


def feed_of(decider: Decider) -> Feed:
    """The one feed of an executor's client."""
    with _FEEDS_LOCK:
        if decider not in _FEEDS:
            _FEEDS[decider] = Feed(decider)
        return _FEEDS[decider]


def _answer_where_asked(comm: Any) -> None:
    """Let messages of the front end stay on the subshell that it chose for them.

    JupyterLab sends them over a subshell, so that they arrive while a cell runs. ipykernel 7.4 sends them back to the shell that spoke
    last on the comm; after any word of ours from a cell that is the main shell, and a click would wait until the cell ends.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, chosen: chosen  # noqa: SLF001 - ipykernel has no public switch for it
