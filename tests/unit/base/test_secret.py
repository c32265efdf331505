import copy
import json
import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.redact import may_hold_secrets, redact, redact_value
from pveops.base.secret import Secret

UUID = "01234567-89ab-cdef-0123-456789abcdef"
CANARIES = {
    f"PVEAPIToken=root@pam!x={UUID}": UUID,
    f"reader@pve!ro={UUID}": UUID,
    f"{{'token': 'reader@pve!ro={UUID}'}}": UUID,
    "PVEAuthCookie=PVE:root@pam:673F1A2B::c2lnbmF0dXJl+/==": "c2lnbmF0dXJl",
    "CSRFPreventionToken: 673F1A2B:aGVsbG8=": "aGVsbG8",
    "Authorization: Bearer pvo_abcdefghijklmnop0123": "abcdefghijklmnop",
    "password=hunter2&x=1": "hunter2",
    '{"cipassword": "hunter2", "name": "a"}': "hunter2",
    "https://user:hunter2@host/": "hunter2",
    "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----": "MIIB",
}


KEYS = ["password", "cipassword", "passwd", "passphrase", "secret", "client_secret", "api_key", "apikey", "token", "token_value", "tokenvalue", "private_key",
        "PrivateKey", "ticket", "CSRFPreventionToken", "Authorization", "cookie"]  # fmt: skip


@pytest.mark.parametrize("text", CANARIES)
def test_credentials_do_not_survive(text):
    assert CANARIES[text] not in redact(text)


def test_what_is_no_credential_stays():
    text = "migrate 101 web-1 to pve2, UPID:pve1:0001C2F8:000A1B2C:673F1A2B:qmigrate:101:root@pam!t1:"
    assert redact(text) == text
    assert "reader@pve!ro" in redact(f"reader@pve!ro={UUID}"), "who it was stays readable"


def test_values_are_redacted_by_key_and_inside_texts():
    value = {"password": "a", "Token": "b", "rows": [{"x": f"u@pam!t={UUID}"}], "n": 1, "token": "", "tokenid": "t1"}
    shown = redact_value(value)
    assert shown == {
        "password": "[redacted]",
        "Token": "[redacted]",
        "rows": [{"x": "u@pam!t=[redacted]"}],
        "n": 1,
        "token": "",
        "tokenid": "t1",
    }


@given(
    st.recursive(
        st.text() | st.sampled_from(sorted(CANARIES)),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
    )
)
@pytest.mark.slow
def test_text_that_may_hold_nothing_holds_nothing(value):
    if not may_hold_secrets(json.dumps(value, ensure_ascii=False)):
        assert redact_value(value) == value


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_secret_is_a_sign(key):
    assert redact_value({key: "x"}) == {key: "[redacted]"}
    assert may_hold_secrets(json.dumps({key: "x"}))


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    assert redact(redact(text)) == redact(text)


def test_a_secret_never_shows(caplog):
    secret = Secret("hunter2")
    seen = [repr(secret), str(secret), f"{secret}", f"{secret:>9}", repr([secret]), repr({"a": secret})]
    try:
        raise ValueError(secret)
    except ValueError:
        seen.append(traceback.format_exc())
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r", secret, secret)
    assert "hunter2" not in "".join(seen) + caplog.text
    for dump in (lambda: pickle.dumps(secret), lambda: copy.deepcopy(secret), lambda: json.dumps(secret)):
        with pytest.raises(TypeError):
            dump()


def test_secrets_compare_and_say_whether_they_hold_something():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("x").reveal() == "x"
    assert len({Secret("a"), Secret("a")}) == 1
