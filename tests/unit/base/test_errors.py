import re

import pytest

from pveops.base import errors
from pveops.base.errors import AmbiguousName, Denied, Locked, PveopsError, Unreachable, from_dict


def tree(root=PveopsError):
    yield root
    for sub in root.__subclasses__():
        yield from tree(sub)


def test_the_drawn_tree_is_the_real_one():
    drawn = set(re.findall(r"[├└]── (\w+)|^ {4}(PveopsError)", errors.__doc__, re.MULTILINE))
    names = {first or second for first, second in drawn}
    assert names == {cls.__name__ for cls in tree()}


@pytest.mark.parametrize("cls", list(tree()))
def test_every_error_survives_the_wire(cls):
    err = cls("It broke.", hint="Mend it.", details={"n": 1}, correlation="c-12345678")
    back = from_dict(err.to_dict())
    assert type(back) is cls
    assert (back.message, back.hint, back.details, back.correlation) == (err.message, err.hint, err.details, err.correlation)
    assert str(back) == "It broke. Mend it. c-12345678"
    assert 400 <= cls.http_status < 600
    assert cls.exit_code in range(1, 10)


def test_an_unknown_kind_is_still_an_error():
    back = from_dict({"kind": "FromTheFuture", "message": "new"})
    assert type(back) is PveopsError
    assert from_dict({}).message


def test_only_transport_and_missing_nodes_are_worth_a_retry():
    assert Unreachable.temporary
    assert not Denied.temporary
    assert not AmbiguousName.temporary
    assert Locked("x", details={"status": 500}).status == 500
    assert Locked("x").status == 0
