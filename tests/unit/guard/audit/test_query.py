import pytest

from pveops.guard.audit.query import COLUMNS, Query, model_of, of_kind, prompt_of, rows, what, why

MADE = {
    "seq": 1, "at": "2026-11-21T10:00:00.000Z", "kind": "proposal.made", "actor": "anna", "correlation": "c-1", "proposal": "p-1", "hash": "a" * 64,
    "data": {"author": "model:offline-grammar", "prompt_sha256": "b" * 64, "plan": {"summary": "Restart guest 101"}, "reason": ""},
}  # fmt: skip
STEP = MADE | {"seq": 2, "at": "2026-11-21T11:00:00.000Z", "kind": "step.intended", "data": {"call": "POST /x", "why": "Because"}}
OTHER = MADE | {"seq": 3, "kind": "steps", "actor": "bert", "proposal": "", "correlation": "", "data": "none"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3]), ({"kind": "step"}, [2]), ({"kind": "step.intended"}, [2]), ({"actor": "bert"}, [3]), ({"proposal": "p-1"}, [1, 2]),
        ({"correlation": "c-1"}, [1, 2]), ({"model": "offline-grammar"}, [1]), ({"since": "2026-11-21T11"}, [2]), ({"until": "2026-11-21T11"}, [1, 3]),
        ({"text": "RESTART"}, [1]), ({"limit": 2}, [2, 3]),
    ],
)  # fmt: skip
def test_questions(query, found):
    asked = Query(**query)
    assert [record["seq"] for record in asked.last(record for record in (MADE, STEP, OTHER) if asked.fits(record))] == found


def test_what_people_want_to_know():
    assert of_kind("step.intended", "step")
    assert not of_kind("steps", "step")
    assert (what(MADE), why(MADE), model_of(MADE), prompt_of(MADE)) == ("Restart guest 101", "", "offline-grammar", "b" * 64)
    assert (what(STEP), why(STEP), model_of(STEP), prompt_of(STEP)) == ("POST /x", "Because", "", "")
    assert (what(OTHER), why(OTHER)) == ("", "")
    made, step, other = rows([MADE, STEP, OTHER])
    assert tuple(made) == COLUMNS
    assert (step["model"], step["prompt_sha256"]) == ("offline-grammar", "b" * 64), "a step is done on behalf of the model that drafted it"
    assert (other["model"], other["who"]) == ("", "bert")
