import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.canon import canonical, digest, short

scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner), max_leaves=20
)


@given(values)
def test_canonical_is_json_and_reads_back_equal(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text("abc"), st.integers()), st.randoms())
def test_order_of_keys_does_not_matter(value, random):
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert digest(dict(shuffled)) == digest(value)


@given(values, values)
def test_different_values_have_different_digests(one, two):
    assert (canonical(one) == canonical(two)) == (json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True))


@pytest.mark.parametrize("value", [1.0, float("nan"), datetime.now(UTC), {1: 2}, {"a": {1, 2}}, [b"x"], "\ud800"])
def test_what_has_no_one_form_is_refused_with_its_place(value):
    with pytest.raises(TypeError, match=r"^\$"):
        canonical(value)


def test_tuples_are_lists_and_short_is_for_people():
    assert canonical((1, (2,))) == b"[1,[2]]"
    assert short("e41b9a07ffff") == "e41b 9a07"
