"""The calls of clients and their answers, as JSON lines: written as they happen, read back for the checker.

Knows no server and no database. Each client has a file. The line of a call is in the file before the request leaves, so
the history of a client that dies has every call that may have had an effect. Times are nanoseconds of the machine's
monotonic clock, which all processes of one machine share.

Worked example: a commit that was answered, one whose server died, and a read:

    {"do":"commit","id":1,"at":10,"request":"c0-1","changes":{"a":"c0-1"},"base":0,"require":false}
    {"do":"ok","id":1,"at":19,"version":1,"hash":"5e..","value":null}
    {"do":"commit","id":2,"at":20,"request":"c0-2","changes":{"a":"c0-2"},"base":1,"require":true}
    {"do":"indeterminate","id":2,"at":31,"reason":"UNAVAILABLE"}
    {"do":"read","id":3,"at":40,"key":"a"}
    {"do":"ok","id":3,"at":44,"version":1,"hash":"5e..","value":"c0-1"}
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """How a call ended, as far as its client knows. A call without an end in the history is indeterminate."""

    OK = "ok"
    REFUSED = "refused"
    INDETERMINATE = "indeterminate"


@dataclass(slots=True, kw_only=True)
class Call:
    """The fields of every call.

    at       when it was invoked
    ended    when its answer came; None: never
    reason   why it was refused or is open
    """

    client: str
    at: int
    ended: int | None = None
    outcome: Outcome = Outcome.INDETERMINATE
    reason: str = ""
    version: int = 0
    hash: str = ""


@dataclass(slots=True, kw_only=True)
class Commit(Call):
    """One attempt to commit. Attempts under one request id are one commit.

    changes  key -> value; no other commit writes the same value
    base     the version that it was made against; None: the head, whichever that is
    require  whether the head had to be the base
    """

    request: str
    changes: Mapping[str, str]
    base: int | None = None
    require: bool = False


@dataclass(slots=True, kw_only=True)
class Read(Call):
    """One read of a key at the head. value None: there was no such key."""

    key: str
    value: str | None = None


@dataclass(slots=True, kw_only=True)
class Watch(Call):
    """One session of a watcher. Each is cut, cancelled or refused in the end."""

    after: int


@dataclass(slots=True, kw_only=True)
class Seen:
    """One version that a watcher received. A watcher that was cut off has gone on after its last one."""

    client: str
    at: int
    version: int
    hash: str


@dataclass(slots=True)
class History:
    """Everything that clients did, each client's part in its order."""

    commits: list[Commit] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


class Recorder:
    """The file of one client, for one thread at a time."""

    def __init__(self, folder: Path, client: str) -> None:
        self.client = client
        self._calls = 0
        # Unbuffered: the kernel has each line when `write` returns, even if this process dies then.
        self._file = (folder / f"{client}.jsonl").open("ab", buffering=0)

    def commit(self, request: str, changes: Mapping[str, str], *, base: int | None, require: bool) -> int:
        """Note that a commit is about to be sent; return the call's number."""
        return self._invoke("commit", request=request, changes=changes, base=base, require=require)

    def read(self, key: str) -> int:
        """Note that a read is about to be sent; return the call's number."""
        return self._invoke("read", key=key)

    def watch(self, after: int) -> int:
        """Note that a watch is about to begin; return the call's number."""
        return self._invoke("watch", after=after)

    def ok(self, call: int, version: int, hash_: bytes, value: str | None = None) -> None:
        """Note a success."""
        self._write(do=Outcome.OK, id=call, version=version, hash=hash_.hex(), value=value)

    def failed(self, call: int, outcome: Outcome, reason: str) -> None:
        """Note a refusal, or an end that leaves the call open."""
        self._write(do=outcome, id=call, reason=reason)

    def seen(self, version: int, hash_: bytes) -> None:
        """Note a version that a watch has received."""
        self._write(do="seen", version=version, hash=hash_.hex())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _invoke(self, what: str, **fields: Any) -> int:
        self._calls += 1
        self._write(do=what, id=self._calls, **fields)
        return self._calls

    def _write(self, **fields: Any) -> None:
        # The clock is read here: before the request leaves, and after its answer has come.
        line = json.dumps({**fields, "at": time.monotonic_ns()}, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")


def load(folder: Path) -> History:
    """Read the histories of all clients in a folder."""
    history = History()
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            add(history, path.stem, lines)
    return history


def add(history: History, client: str, lines: Iterable[bytes]) -> None:
    """Add the lines of one client. A last line that the client's death has cut off is ignored."""
    calls: dict[int, Call] = {}
    for line in lines:
        if line.endswith(b"\n"):
            _add(history, client, json.loads(line), calls)


def _add(history: History, client: str, line: dict[str, Any], calls: dict[int, Call]) -> None:
    match line.pop("do"):
        case "commit":
            number = line.pop("id")
            calls[number] = commit = Commit(client=client, **line)
            history.commits.append(commit)
        case "read":
            number = line.pop("id")
            calls[number] = read = Read(client=client, **line)
            history.reads.append(read)
        case "watch":
            number = line.pop("id")
            calls[number] = watch = Watch(client=client, **line)
            history.watches.append(watch)
        case "seen":
            history.seen.append(Seen(client=client, **line))
        case outcome:
            _end(calls[line["id"]], Outcome(outcome), line)


def _end(call: Call, outcome: Outcome, line: Mapping[str, Any]) -> None:
    call.outcome, call.ended, call.reason = outcome, line["at"], line.get("reason", "")
    if outcome is Outcome.OK:
        call.version, call.hash = line["version"], line["hash"]
        if isinstance(call, Read):
            call.value = line["value"]
