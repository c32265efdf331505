"""How IPython shows what pveops gives. Where widgets run a proposal is a card; everywhere else inert HTML and text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pveops.base.errors import PveopsError
from pveops.model.run import ProposalView
from pveops.present import html, text
from pveops.present.card import card_view, draft_view
from pveops.present.leads import settled
from pveops.present.tables import frame_table

if TYPE_CHECKING:
    from pveops.agent.loop import Turn
    from pveops.app.handles import Draft, ProposalHandle
    from pveops.app.ops import Ops
    from pveops.clients.executor import ExecutorClient
    from pveops.model.proposal import Preview
    from pveops.present.ports import Redraft
    from pveops.tools.registry import ToolResult

Bundle = dict[str, Any]
_PLAIN, _HTML = "text/plain", "text/html"


def install(shell: Any) -> None:
    """Register all formatters and the error handler with a shell."""
    formatter = shell.display_formatter
    if formatter is not None:
        bundles: tuple[tuple[str, str, Callable[..., Bundle]], ...] = (
            ("pveops.app.handles", "ProposalHandle", partial(_guarded, proposal_bundle, shell)),
            ("pveops.app.handles", "Draft", partial(_guarded, draft_bundle, shell)),
            ("pveops.tools.registry", "ToolResult", partial(_guarded, result_bundle, shell)),
            ("pveops.model.proposal", "Preview", partial(_guarded, preview_bundle, shell)),
            ("pveops.model.run", "ProposalView", partial(_guarded, view_bundle, shell)),
        )
        for module, name, make in bundles:
            formatter.mimebundle_formatter.for_type_by_name(module, name, make)
        formatter.ipython_display_formatter.for_type_by_name("pveops.agent.loop", "Turn", partial(show_turn, shell))
        for module in ("pandas", "pandas.core.frame"):
            formatter.formatters[_HTML].for_type_by_name(module, "DataFrame", frame_html)
    shell.set_custom_exc((PveopsError,), _show_error)


def _guarded(make: Callable[[Any, Any], Bundle], shell: Any, thing: Any, include: Any = None, exclude: Any = None) -> Bundle:
    """A formatter must not fail: what goes wrong is shown instead."""
    try:
        return make(shell, thing)
    except PveopsError as err:
        return error_bundle(err)


def widgets_run(shell: Any) -> bool:
    """Whether there is a kernel with a front end that may show widgets, and the library for it."""
    return getattr(shell, "kernel", None) is not None and find_spec("anywidget") is not None


def proposal_bundle(shell: Any, handle: ProposalHandle) -> Bundle:
    """A proposal: a live card, or text and inert HTML."""
    client = handle.executors.client()
    return card_bundle(shell, client, client.proposal(handle.id), _ops(shell, lambda ops: ops.executors is handle.executors))


def card_bundle(shell: Any, client: ExecutorClient, view: ProposalView, ops: Ops | None) -> Bundle:
    """The card of a proposal, for whoever has the client."""
    card = card_view(
        view, viewer=client.principal, can_sign=client.can_sign, mode="rerun" if settled(view) else "fresh", now=view.server_time
    )
    bundle = {_PLAIN: text.card_text(card), _HTML: html.page(html.card_html(card))}
    if not widgets_run(shell):
        return bundle
    from pveops.surfaces.widgets.card import desk  # noqa: PLC0415 - anywidget is loaded when the first card is shown

    widget, controller = desk(client, **_redrafts(ops))
    controller.open(view)
    return {**bundle, **_widget_part(widget)}


def draft_bundle(shell: Any, draft: Draft) -> Bundle:
    """A draft: a card that can be looked at and put forward; confirming comes after that."""
    card = draft_view(draft.plan, now=datetime.now(UTC))
    bundle = {_PLAIN: repr(draft), _HTML: html.page(html.card_html(card))}
    if not widgets_run(shell):
        return bundle
    ops = _ops(shell, lambda ops: ops.name == draft.plan.cluster)
    if ops is None:
        return bundle
    try:
        client = ops.executors.client()
    except PveopsError:
        return bundle  # without an executor there is nobody to propose to; the draft can still be read
    from pveops.surfaces.widgets.card import desk  # noqa: PLC0415 - anywidget is loaded when the first card is shown

    widget, controller = desk(client, **_redrafts(ops))
    controller.open_draft(draft.plan, propose=lambda: draft.propose().view(), look=draft.preview)
    return {**bundle, **_widget_part(widget)}


def result_bundle(_shell: Any, result: ToolResult) -> Bundle:
    """What a read tool found."""
    return {_PLAIN: text.result_text(result), _HTML: html.page(html.result_html(result))}


def preview_bundle(_shell: Any, preview: Preview) -> Bundle:
    """A look before a change."""
    return {_PLAIN: text.preview_text(preview), _HTML: html.page(html.preview_html(preview))}


def view_bundle(_shell: Any, view: ProposalView) -> Bundle:
    """A proposal as it was told: inert, because it holds no way to the executor."""
    card = card_view(view, viewer="", can_sign=False, mode="rerun" if settled(view) else "fresh", now=view.server_time)
    return {_PLAIN: text.card_text(card), _HTML: html.page(html.card_html(card))}


def error_bundle(err: PveopsError) -> Bundle:
    """An error in one paragraph."""
    return {_PLAIN: text.error_text(err), _HTML: html.page(html.error_html(err))}


def show_turn(shell: Any, turn: Turn) -> None:
    """A turn in the order it should be read: words and findings, then a card for each proposal."""
    from IPython.display import publish_display_data  # noqa: PLC0415 - only inside IPython

    publish: Callable[[Bundle], None] = publish_display_data
    publish({_PLAIN: text.turn_text(turn, ()), _HTML: html.page(html.words_html(turn))})
    for view in turn.proposed:
        publish(_guarded(_proposed_bundle, shell, view))


def _proposed_bundle(shell: Any, view: ProposalView) -> Bundle:
    ops = _ops(shell, lambda ops: ops.name == view.proposal.plan.cluster)
    return view_bundle(shell, view) if ops is None else card_bundle(shell, ops.executors.client(), view, ops)


def frame_html(frame: Any) -> str | None:
    """A table of pveops with readable values, any other as pandas draws it; one that is not complete says so below."""
    own = frame_table(frame)
    drawn: str | None = html.page(own) if own else frame._repr_html_()
    if drawn is None:
        return None
    caption = text.frame_caption(frame.attrs, datetime.now(UTC)) if isinstance(frame.attrs, Mapping) else ""
    return (
        drawn
        if not caption
        else drawn + html.page(html.el("p", html.glyph("partial", "partial"), " ", html.text(caption), class_="sm partial"))
    )


def _widget_part(widget: Any) -> Bundle:
    made = widget._repr_mimebundle_()
    bundle: Bundle = made[0] if isinstance(made, tuple) else made
    return {kind: part for kind, part in bundle.items() if kind not in (_PLAIN, _HTML)}


def _ops(shell: Any, fits: Callable[..., bool]) -> Ops | None:
    """The ``Ops`` among the person's variables that fits; ``ops`` first."""
    module = sys.modules.get("pveops.app.ops")
    if module is None:
        return None
    names: Sequence[Any] = [shell.user_ns.get("ops"), *list(shell.user_ns.values())]
    found: Iterable[Ops] = (value for value in names if isinstance(value, module.Ops))
    return next((ops for ops in found if fits(ops)), None)


def _redrafts(ops: Ops | None) -> dict[str, Redraft]:
    """What this place can do with a proposal besides deciding about it."""
    if ops is None:
        return {}
    return {
        "again": lambda proposal_id: ops.again(proposal_id).propose().view(),
        "undo": lambda proposal_id: ops.undo(proposal_id).propose().view(),
        "rehearse": lambda proposal_id: ops.executors.rehearse(ops.proposal(proposal_id).view()),
    }


def _show_error(shell: Any, etype: Any, err: Any, trace: Any, tb_offset: Any = None) -> list[str]:
    """One paragraph instead of a traceback. The cell still counts as failed."""
    lines = [text.error_text(err)]
    shell._showtraceback(etype, err, lines)  # noqa: SLF001 - the way IPython's own handlers end
    return lines
