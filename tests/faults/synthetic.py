"""Histories as a correct server would leave them, made without a server: the checker is tested on them.

Clients take steps in a random order: a client invokes a call, the simulated server carries it out, the client gets the
answer. Other clients take steps in between, so calls overlap as in a real run.
"""

import random
from dataclasses import dataclass, field, replace

from tests.faults.acknowledged import CONFLICT
from tests.faults.final_state import Final, FinalVersion
from tests.faults.histories import Commit, History, Outcome, Read, Seen

CLIENTS = 16
LOST_ANSWERS = 0.05
"""The share of calls that get no answer; half of them never reach the server."""


@dataclass
class _Server:
    versions: list[FinalVersion] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    values: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def head(self) -> int:
        return len(self.versions)

    def commit(self, commit: Commit) -> bool:
        """Carry out a commit that was not there before; return whether it was accepted."""
        base = self.head if commit.base is None else commit.base
        if commit.require and base != self.head:
            return False
        if any(self.values.get(key, (0, ""))[0] > base for key in commit.changes):
            return False
        number = self.head + 1
        self.versions.append(FinalVersion(number, self.head, hash_of(number), commit.request, commit.changes))
        self.requests[commit.request] = number
        self.values |= {key: (number, value) for key, value in commit.changes.items()}
        return True


def hash_of(number: int) -> str:
    """Return the hash that the simulated server gives to a version."""
    return f"{number:064x}"


@dataclass
class _Client:
    """One client: its call under way, whether the server has carried it out, and the newest version it knows."""

    name: str
    call: Commit | Read | None = None
    done: bool = False
    known: int = 0
    calls: int = 0


def simulate(calls: int, *, seed: int) -> tuple[History, Final]:
    """Return the history of at least so many calls, all of them answered in the end, and the final state."""
    dice = random.Random(seed)
    history, server = History(), _Server()
    clients = [_Client(f"c{number}") for number in range(CLIENTS)]
    time = 0
    while len(history.commits) + len(history.reads) < calls:
        time += 1
        _step(clients[int(dice.random() * CLIENTS)], history, server, time, dice)
    for client in clients:
        while client.call is not None:
            time += 1
            _step(client, history, server, time, dice)
    history.seen = [Seen(client="w0", at=time, version=v.number, hash=v.hash) for v in server.versions]
    return history, Final("synthetic", server.versions, server.requests)


def _step(client: _Client, history: History, server: _Server, time: int, dice: random.Random) -> None:
    call = client.call
    if call is None:
        _invoke(client, history, time, dice)
    elif isinstance(call, Read):
        _read(client, call, server, time)
    elif not client.done:
        lost = dice.random()
        client.done = True
        if lost > LOST_ANSWERS / 2:
            _carry_out(call, server)
        if lost < LOST_ANSWERS:  # sent again at once
            call.ended, call.outcome, call.reason = time, Outcome.INDETERMINATE, "UNAVAILABLE"
            again = replace(call, at=time, ended=None, reason="")
            history.commits.append(again)
            client.call, client.done = again, False
    else:
        client.call, client.done, call.ended = None, False, time
        client.known = max(client.known, call.version)


def _invoke(client: _Client, history: History, time: int, dice: random.Random) -> None:
    client.calls += 1
    request = f"{client.name}-{client.calls}"
    own, shared = f"{client.name}/{dice.randrange(4)}", f"shared/{dice.randrange(8)}"
    kind = dice.random()
    if kind < 0.25:
        client.call = read = Read(client=client.name, at=time, key=own)
        history.reads.append(read)
        return
    key = own if kind < 0.7 else shared
    base = None if kind < 0.9 and key is shared else client.known
    client.call = commit = Commit(
        client=client.name, at=time, request=request, changes={key: request}, base=base, require=kind > 0.9
    )
    history.commits.append(commit)


def _read(client: _Client, read: Read, server: _Server, time: int) -> None:
    if not client.done:
        read.version, read.hash = server.head, hash_of(server.head) if server.head else ""
        read.value = server.values.get(read.key, (0, None))[1]
        # Before the first version there is none that the checker could compare with.
        read.outcome = Outcome.OK if server.head else Outcome.INDETERMINATE
        client.done = True
        return
    client.call, client.done, read.ended = None, False, time
    client.known = max(client.known, read.version)


def _carry_out(commit: Commit, server: _Server) -> None:
    number = server.requests.get(commit.request)
    if number is None and server.commit(commit):
        number = server.head
    if number is None:
        commit.outcome, commit.reason = Outcome.REFUSED, CONFLICT
    else:
        commit.outcome, commit.version, commit.hash = Outcome.OK, number, hash_of(number)
