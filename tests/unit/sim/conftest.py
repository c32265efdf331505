"""A small world without a process around it: the API object is asked directly, time is a number."""

import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
import pytest

from pveops.sim.contract.dispatch import Api, Request
from pveops.sim.errors import RefusedError
from pveops.sim.methods.table import Encoded, Rows
from pveops.sim.seed.describe import describe
from pveops.sim.state.identity import ROOT, Principal, Token, User
from pveops.sim.world import World

START_S = 1_795_262_400.0  # 2026-11-21 12:00 UTC
SEED = 20_261


@dataclass
class Answer:
    status: int
    reason: str
    data: object = None
    errors: dict | None = None
    total: int | None = None


class Lab:
    """A world and somebody who asks it."""

    def __init__(self, description, *, start_s=START_S, seed=SEED):
        self.world = World(description, seed=seed, start_s=start_s, secrets=lambda name: f"secret-of-{name}", ticket_key=b"k" * 32)
        self.api = Api(self.world)

    @property
    def cluster(self):
        return self.world.cluster

    def ask(self, verb, path, who="admin@pve!sim", /, **parameters):
        path, _, query = path.partition("?")
        request = Request(verb, path, {**dict(parse_qsl(query)), **parameters})
        if who == ROOT:
            ticket, request.csrf = self.world.gate.issue(ROOT)
            request.cookie = f"PVEAuthCookie={ticket}"
        elif who:
            request.authorization = f"PVEAPIToken={who}={self.cluster.identities.token(who).secret}"
        try:
            found = self.api.answer(request)
        except RefusedError as err:
            return Answer(err.status, err.reason, errors=err.errors)
        total = found.total if isinstance(found, Rows) else None
        data = found.data if isinstance(found, Rows) else json.loads(found.data) if isinstance(found, Encoded) else found
        return Answer(200, "OK", json.loads(orjson.dumps(data)), total=total)

    def data(self, verb, path, who="admin@pve!sim", /, **parameters):
        answer = self.ask(verb, path, who, **parameters)
        assert answer.status == 200, f"{verb} {path}: {answer}"
        return answer.data

    def wait(self, seconds):
        self.world.advance(self.cluster.now_s + seconds)

    def finish(self, upid, most_s=3600):
        """Let time pass until the task has ended; how it ended."""
        task = self.world.engine.find(upid.split(":")[1], upid)
        for _ in range(most_s):
            if not task.running:
                return task.status
            self.wait(1)
        raise AssertionError(f"{upid} does not end")

    def run(self, verb, path, who="admin@pve!sim", /, **parameters):
        return self.finish(self.data(verb, path, who, **parameters))

    def principal(self, name, *grants):
        """A user with a token without privilege separation, and (path, role, propagate) entries."""
        ids = self.cluster.identities
        ids.users[name] = User(name, tokens={"t": Token("t", "s", privsep=False)})
        for path, role, propagate in grants:
            ids.grant(path, "user", name, role, propagate=propagate)
        ids.changed()
        return f"{name}!t"


@pytest.fixture
def lab():
    return Lab(describe(nodes=3, guests=20, seed=SEED, start_s=START_S))


@pytest.fixture(scope="session")
def make_lab():
    def make(nodes=3, guests=20, seed=SEED, **options):
        return Lab(describe(nodes=nodes, guests=guests, seed=seed, start_s=START_S, **options), seed=seed)

    return make


@pytest.fixture(scope="session")
def operator():
    return Principal("operator@pve", "executor")
