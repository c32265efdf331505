from dataclasses import fields, replace
from datetime import timedelta

import pytest

from pveops.base.errors import Forged
from pveops.model.claims import check_signature, claim_for, new_key, public_of, sign
from pveops.model.proposal import Approval
from pveops.testing import build


def test_a_claim_binds_everything_it_should():
    proposal = build.proposal()
    claim = claim_for(proposal, approver="anna", now=build.NOW)
    assert claim.plan_digest == proposal.plan.digest
    assert claim.expires == build.NOW + timedelta(seconds=120)
    late = claim_for(replace(proposal, expires=build.NOW + timedelta(seconds=5)), approver="anna", now=build.NOW)
    assert late.expires == build.NOW + timedelta(seconds=5)


def test_only_the_right_key_over_exactly_this_claim_passes():
    (private, public), (other, other_public) = new_key(), new_key()
    assert public_of(private) == public
    good = sign(claim_for(build.proposal(), approver="anna", now=build.NOW), private)
    check_signature(good, public)
    bad = [sign(good.claim, other), Approval(claim=good.claim, signature="00"), Approval(claim=good.claim, signature="zz")]
    for field in fields(good.claim):
        old = getattr(good.claim, field.name)
        bad.append(
            replace(good, claim=replace(good.claim, **{field.name: f"{old}x" if isinstance(old, str) else old + timedelta(seconds=1)}))
        )
    for approval in bad:
        with pytest.raises(Forged):
            check_signature(approval, public)
    for key in (other_public, "", "nothex"):
        with pytest.raises(Forged):
            check_signature(good, key)
