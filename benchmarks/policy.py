"""Policy decisions per second, beside bare Cedar evaluations of the same requests, in one run."""

from __future__ import annotations

import json
import statistics
import time

import cedarpy

from pveops.app.setup import shipped_policy
from pveops.guard.policy import SETS, Circumstances, Target, shipped
from pveops.guard.principals import Principal

ROUNDS, DECISIONS, BULK = 7, 300, 1000
LIMIT_PER_S = 2000


def per_second(work, decisions):
    """Decisions per second by the wall and per second of this process's own CPU time; medians after a warm-up."""
    wall, own = [], []
    for _ in range(ROUNDS + 1):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append(decisions / (time.perf_counter() - started))
        own.append(decisions / (time.process_time() - used))
    return statistics.median(wall[1:]), statistics.median(own[1:])


def told(rates):
    return f"{rates[0]:7.0f}/s wall, {rates[1]:7.0f}/s of CPU"


def main():
    who = Principal(name="anna", kind="person", roles=("operator",), token_sha256="")
    how = Circumstances(
        tool="guest.migrate",
        tier="yellow",
        targets=1,
        author="person",
        by_requester=False,
        channel="card",
        one_person=False,
        simulated=False,
    )
    one = [Target(subject="guest/101", kind="qemu", node="pve1", tags=("prod", "web"))]
    many = [Target(subject=f"guest/{100 + number}", kind="qemu", node=f"pve{number % 10}", tags=("prod",)) for number in range(BULK)]
    print(f"Policy decisions (limit {LIMIT_PER_S} a second); medians of {ROUNDS} rounds.")
    for name in SETS:
        policy = shipped_policy(name)
        single = per_second(lambda policy=policy: [policy.plan("approve", who, one, "lab", how) for _ in range(DECISIONS)], DECISIONS)
        bulk = per_second(lambda policy=policy: policy.plan("approve", who, many, "lab", how), BULK)
        simple = per_second(
            lambda policy=policy: [policy.simple("deny", who, "lab", by_requester=True) for _ in range(DECISIONS)], DECISIONS
        )
        print(f"  {name:<8} a plan of one guest {told(single)};  a plan of {BULK} guests {told(bulk)};  a simple question {told(simple)}")
        if single[0] < LIMIT_PER_S:
            idle = "the machine was busy: see the figure of CPU" if single[1] >= LIMIT_PER_S else "too slow"
            print(f"  {name}: below the limit of {LIMIT_PER_S} a second by the wall; {idle}")
    text, schema = cedarpy.PolicySet.from_str(shipped("homelab")), cedarpy.Schema.from_str(shipped("schema.cedarschema"))
    ask = {
        "principal": 'Pveops::Person::"anna"',
        "action": 'Pveops::Action::"deny"',
        "resource": 'Pveops::Cluster::"lab"',
        "context": {"by_requester": True},
    }
    people = json.dumps(
        [{"uid": {"type": "Pveops::Person", "id": "anna"}, "attrs": {}, "parents": [{"type": "Pveops::Role", "id": "operator"}]}]
    )
    floor = per_second(lambda: [cedarpy.is_authorized(ask, text, people, schema) for _ in range(DECISIONS)], DECISIONS)
    print(f"  bare Cedar, a simple question {told(floor)}")


if __name__ == "__main__":
    main()
