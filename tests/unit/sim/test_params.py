"""Parameter verification: the words and rules of the real API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.sim.contract.params import EXTRA, MISSING, PropsCheck, Verifier
from pveops.sim.contract.schema import Method, load
from pveops.sim.errors import RefusedError

SCHEMA = load()


def verifier(**parameters):
    return Verifier(Method("GET", "/x", parameters, open_ended=False, permissions=None, allow_token=True, returns={}))


def errors_of(check, **raw):
    with pytest.raises(RefusedError) as caught:
        check(raw)
    assert caught.value.status == 400
    return caught.value.errors


def test_missing_extra_and_wrong_at_once():
    check = verifier(a={"type": "string"}, b={"type": "integer", "optional": 1})
    assert errors_of(check, b="x", c="1") == {"a": MISSING, "b": "type check ('integer') failed - got 'x'", "c": EXTRA}


@pytest.mark.parametrize("value", ["yes", "no", "on", "off", "true", "false", "2", "", "Yes", [], {}])
def test_booleans_refuse_everything_but_0_and_1(value):
    assert "f" in errors_of(verifier(f={"type": "boolean"}), f=value)


@pytest.mark.parametrize(("value", "typed"), [("1", 1), ("0", 0), (1, 1), (0, 0), (True, 1), (False, 0)])
def test_booleans_come_out_as_0_and_1(value, typed):
    found = verifier(f={"type": "boolean"})({"f": value})["f"]
    assert (found, type(found)) == (typed, int)


@given(st.integers(-(10**9), 10**9), st.integers(-1000, 1000), st.integers(0, 1000))
def test_bounds_of_integers(value, low, span):
    check = verifier(n={"type": "integer", "minimum": low, "maximum": low + span})
    if low <= value <= low + span:
        assert check({"n": str(value)}) == {"n": value}
    else:
        side, limit = ("minimum", low) if value < low else ("maximum", low + span)
        assert errors_of(check, n=value) == {"n": f"value must have a {side} value of {limit}"}


@given(st.text(max_size=12), st.integers(1, 8), st.integers(0, 6))
def test_lengths_of_texts(value, least, more):
    check = verifier(t={"type": "string", "minLength": least, "maxLength": least + more})
    if least <= len(value) <= least + more:
        assert check({"t": value}) == {"t": value}
    else:
        assert errors_of(check, t=value)["t"] in (
            f"value may only be {least + more} characters long",
            f"value must be at least {least} characters long",
        )


@given(st.one_of(st.lists(st.integers(), max_size=2), st.dictionaries(st.text(), st.integers(), max_size=1), st.booleans()))
def test_texts_refuse_json_that_is_no_text(value):
    kind = "JSON::PP::Boolean" if isinstance(value, bool) else "ARRAY" if isinstance(value, list) else "HASH"
    assert errors_of(verifier(t={"type": "string"}), t=value) == {"t": f"type check ('string') failed - got {kind}"}


def test_whole_floats_are_integers_and_others_are_not():
    check = verifier(n={"type": "integer"})
    assert check({"n": 2.0}) == {"n": 2}
    assert errors_of(check, n=2.5) == {"n": "type check ('integer') failed - got '2.5'"}


def test_required_partner_joins_the_text_that_is_there():
    check = verifier(a={"type": "string", "optional": 1, "requires": "b"}, b={"type": "string"})
    assert errors_of(check, a="x") == {"b": f"{MISSING}\\nmissing property required by 'a'"}


def test_enum_names_the_choices():
    check = verifier(t={"type": "string", "enum": ["hour", "day"]})
    assert errors_of(check, t="bogus") == {"t": "value 'bogus' does not have a value in the enumeration 'hour, day'"}


@pytest.mark.parametrize(
    ("name", "known"),
    [("net0", True), ("net31", True), ("net32", False), ("net", False), ("net01", False), ("scsi30", True), ("scsi31", False)],
)
def test_numbered_parameters_have_limits(name, known):
    check = Verifier(SCHEMA.methods["PUT", "/nodes/{node}/qemu/{vmid}/config"])
    assert check.knows(name) is known


def test_property_strings_name_every_broken_key_in_order():
    check = Verifier(SCHEMA.methods["PUT", "/nodes/{node}/qemu/{vmid}/config"])
    found = errors_of(check, node="pve1", vmid="100", net1="bogus,bridge=vmbr0,tag=5000")
    assert found["net1"].startswith("invalid format - format error\nnet1.model: value 'bogus'")
    assert found["net1"].endswith("\nnet1.tag: value must have a maximum value of 4094\n")


def test_property_string_aliases_set_the_key_they_stand_for():
    keys = {
        "model": {"default_key": 1, "type": "string", "enum": ["virtio"]},
        "mac": {"type": "string", "optional": 1},
        "virtio": {"alias": "mac", "keyAlias": "model"},
    }
    PropsCheck("net0", keys)("virtio=BC:24:11:00:00:01")
    with pytest.raises(ValueError, match="duplicate key"):
        PropsCheck("net0", keys)("virtio=a,mac=b")


FORMATS = [
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot", "snapname", "1bad", "invalid format - invalid configuration ID '1bad'\n"),
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot", "snapname", "a", "invalid format - invalid configuration ID 'a'\n"),
    ("POST", "/nodes/{node}/qemu/{vmid}/migrate", "target", "bad node", "invalid format - value does not look like a valid node name\n"),
    (
        "PUT",
        "/nodes/{node}/qemu/{vmid}/config",
        "memory",
        "abc",
        "invalid format - format error\nmemory.current: type check ('integer') failed - got 'abc'\n",
    ),
    ("PUT", "/nodes/{node}/qemu/{vmid}/config", "name", "bad_name", "invalid format - value does not look like a valid DNS name\n"),
    ("PUT", "/nodes/{node}/qemu/{vmid}/config", "tags", "-bad", "invalid format - invalid characters in tag\n"),
    ("PUT", "/access/roles/{roleid}", "privs", "VM.Monitor", "invalid format - invalid privilege 'VM.Monitor'\n"),
    ("POST", "/pools", "poolid", "a/b/c/d", "invalid format - pool name 'a/b/c/d' nested too deeply (max levels = 3)\n"),
    ("GET", "/nodes/{node}/tasks", "statusfilter", "ok,bogus", "invalid format - invalid status 'bogus'\n"),
    ("POST", "/access/users", "email", "bad", "invalid format - value does not look like a valid email address\n"),
]


@pytest.mark.parametrize(("verb", "path", "name", "value", "text"), FORMATS)
def test_words_of_formats(verb, path, name, value, text):
    assert errors_of(Verifier(SCHEMA.methods[verb, path]), **{name: value})[name] == text


@given(st.data())
def test_whatever_is_sent_the_answer_is_typed_values_or_400(data):
    key = data.draw(st.sampled_from(sorted(SCHEMA.methods)))
    method = SCHEMA.methods[key]
    names = [name.replace("[n]", "0") for name in method.parameters] + ["nosuch"]
    junk = st.one_of(
        st.text(max_size=20), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.lists(st.text(max_size=3), max_size=2)
    )
    raw = data.draw(st.dictionaries(st.sampled_from(names), junk, max_size=5))
    try:
        typed = Verifier(method)(raw)
    except RefusedError as err:
        refusal = err
    else:
        assert set(typed) <= set(raw)
        return
    assert refusal.status == 400
    assert refusal.errors
