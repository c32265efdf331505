"""Static export of notebooks: cards become inert HTML of their last saved state, without buttons. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor

from pveops.present import html, text

_VIEW = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"


class StillCards(Preprocessor):
    """An nbconvert preprocessor that puts the last state of every card in place of its widget."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Replace the cards of a notebook; drop their scripts from the saved widget state."""
        saved = nb.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
        cards = {model: view for model, kept in saved.items() if (view := _card_view_of(kept)) is not None}
        for cell in nb.cells:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                cards_here = cards.get(data.get(_VIEW, {}).get("model_id", "")) if _VIEW in data else None
                if cards_here is not None:
                    output["data"] = still(cards_here)
        for model in cards:
            saved.pop(model, None)
        return nb, resources


def still(payload: Mapping[str, Any]) -> dict[str, str]:
    """What a saved card payload looks like without a kernel: HTML and text."""
    cards = payload["cards"]
    return {
        "text/html": html.page(*(html.card_html(card) for card in cards)),
        "text/plain": "\n\n".join(text.card_text(card) for card in cards),
    }


def export_html(notebook: Path) -> str:
    """A notebook as one HTML file that asks nobody for anything."""
    make: Any = HTMLExporter
    exporter = make()
    for name in exporter.trait_names():
        if name.endswith("_url"):
            setattr(exporter, name, "")
    exporter.register_preprocessor(StillCards, enabled=True)
    body, _ = exporter.from_filename(str(notebook))
    return str(body)


def _card_view_of(kept: Mapping[str, Any]) -> Mapping[str, Any] | None:
    state = kept.get("state", {})
    view = state.get("view")
    if not str(state.get("_anywidget_id", "")).startswith("pveops.") or not isinstance(view, Mapping) or "cards" not in view:
        return None
    return view
