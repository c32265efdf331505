from dataclasses import replace
from datetime import timedelta

import pytest

from pveops.base.errors import Denied, Expired, Forged, Stale, Used
from pveops.guard.approval import check_approval, check_open
from pveops.guard.principals import Principal
from pveops.model.claims import claim_for, new_key, sign
from pveops.model.proposal import ProposalStatus
from pveops.testing import build

PRIVATE, PUBLIC = new_key()
ANNA = Principal(name="anna", kind="person", roles=("operator",), token_sha256="", public_key=PUBLIC)
HASH = "0" * 64


def check(proposal, *, claim=None, who=ANNA, policy_hash=HASH, now=build.NOW, key=PRIVATE):
    claim = claim or claim_for(proposal, approver="anna", now=build.NOW)
    check_approval(sign(claim, key), proposal, who, policy_hash=policy_hash, now=now)


def test_a_good_approval_passes():
    check(build.proposal())


@pytest.mark.parametrize("field", ["proposal_id", "plan_digest", "state_fingerprint", "audience", "approval_id"])
def test_an_approval_for_something_else_is_forged(field):
    proposal = build.proposal()
    claim = replace(claim_for(proposal, approver="anna", now=build.NOW), **{field: "x"})
    with pytest.raises(Forged, match="another"):
        check(proposal, claim=claim)


@pytest.mark.parametrize("kind", ["agent", "runbook", "service"])
def test_only_people_approve(kind):
    with pytest.raises(Denied, match=kind):
        check(build.proposal(), who=replace(ANNA, kind=kind))
    with pytest.raises(Denied):
        check(build.proposal(), who=replace(ANNA, public_key=""))


def test_somebody_elses_approval_and_a_wrong_key_are_forged():
    with pytest.raises(Forged, match="bob sent it"):
        check(build.proposal(), who=replace(ANNA, name="bob"))
    with pytest.raises(Forged, match="signature"):
        check(build.proposal(), key=new_key()[0])


def test_an_edited_plan_is_forged_even_with_a_fresh_approval():
    proposal = build.proposal()
    with pytest.raises(Forged, match="digest"):
        check(replace(proposal, plan=build.plan(summary="Migrate 101 web-1 to pve3")))


def test_a_changed_policy_is_stale():
    with pytest.raises(Stale, match="policy"):
        check(build.proposal(), policy_hash="1" * 64)
    proposal = build.proposal()
    with pytest.raises(Stale):
        check(proposal, claim=replace(claim_for(proposal, approver="anna", now=build.NOW), policy_hash="1" * 64), policy_hash="1" * 64)


def test_time_is_over_in_three_ways():
    proposal = build.proposal()
    with pytest.raises(Expired, match="has expired"):
        check(proposal, now=proposal.expires)
    with pytest.raises(Expired, match="too long ago"):
        check(proposal, now=build.NOW + timedelta(seconds=121))
    long_claim = replace(claim_for(proposal, approver="anna", now=build.NOW), expires=proposal.expires)
    with pytest.raises(Expired, match="too long ago"):
        check(proposal, claim=long_claim, now=build.NOW + timedelta(seconds=121))
    with pytest.raises(Forged, match="future"):
        check(proposal, now=build.NOW - timedelta(seconds=31))


@pytest.mark.parametrize("status", [status for status in ProposalStatus if not status.open])
def test_what_is_decided_is_decided(status):
    proposal = replace(build.proposal(), status=status, decided_by="bob")
    with pytest.raises(Expired if status is ProposalStatus.EXPIRED else Used):
        check_open(proposal, now=build.NOW)
    with pytest.raises((Used, Expired)):
        check(proposal)


def test_an_open_one_is_open_until_it_expires():
    proposal = build.proposal()
    check_open(proposal, now=build.NOW)
    with pytest.raises(Expired):
        check_open(proposal, now=proposal.expires)
