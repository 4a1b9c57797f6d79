"""What a store promises, in prose and as Protocols. Knows no database.

A store keeps configs: for each, versions 1, 2, 3 … and the values that originated in
them. It only ever adds. Two rooms stand on it: the committer, through `write()`, and
readers, through `read()`.

Guarantees
----------
Atomic      What is inserted within one `write()` becomes visible together, when the
            block ends, or not at all.
Durable     When a `write()` block has ended without an error, what it inserted survives
            a crash of the process and of the machine (a memory store excepted).
Serial      At most one `write()` block is open on a store at any moment, in whichever
            process. What it reads includes all that was ever committed, and its own
            inserts.
Immutable   What was read of version n is true for ever: the same question about n has
            the same answer.
Intact      Every value is checked against its digest when it is read; a mismatch is
            HashMismatchError, never a wrong value.
Ordered     Keys and config names are ordered by code point (which is the order of their
            UTF-8 bytes); versions by number.

A reading block is no frozen moment: what was committed before it was opened is seen, what
is committed meanwhile may be. Nothing seen ever goes away, and a version is never seen in
part, so only the questions about the head may be answered differently when asked again.

Errors
------
An exception raised within a `write()` block, by the caller or by the store, means that
nothing was written. So does DiskFullError. CommitUnknownError is raised by the *end* of
the block alone, and leaves open whether it was written: the request id tells, later. Where it
is a StoreFailedError, later means after a restart: the store takes no more writes. Any
other UnavailableError means that the database could not be asked, and that nothing was
written. HistoryBrokenError is a bug somewhere. A config or a version that does not exist
is no error here: readers answer None or nothing, and who asks decides what that means.

Threads
-------
Every call may block, so none is made on the event loop (but for Notices). A Reading or a Writing belongs
to the thread that opened it and ends with its block; the iterators it returned end with
it. Any number of `read()` blocks may be open at once, beside a `write()`; a store with fewer
connections lets some of them wait for others to end, and at last raises UnavailableError.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol

from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import (
    Change,
    ConfigSummary,
    Entry,
    HeadMark,
    KeyChange,
    Reply,
    RequestKey,
    State,
    Version,
)
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value


class CommitUnknownError(UnavailableError):
    """The end of a writing block failed in such a way that its rows may be there, now or later."""

    def __init__(self) -> None:
        super().__init__(Reason.STORE_UNAVAILABLE, "the database did not confirm the commit; it may have happened")


class StoreFailedError(CommitUnknownError):
    """As CommitUnknownError, and what the store would now read is not known to be durable: it must be opened anew."""


class HistoryBrokenError(Exception):
    """What was inserted does not continue what is there; nothing was written.

    Either a bug of the caller's, or a writer somewhere that does not take the write lock.
    """

    @classmethod
    def version(cls, config: str, number: int, head: int) -> "HistoryBrokenError":
        """Say that a version is not the one after its config's head."""
        return cls(f"version {number} of {config!r} does not follow its head, version {head}")

    @classmethod
    def request(cls, request_id: str) -> "HistoryBrokenError":
        """Say that a request id is remembered already."""
        return cls(f"request id {request_id!r} has an outcome already")


class UnusableStoreError(Exception):
    """A database cannot be opened, or not without danger to its data. The text says why, for the operator."""


class BackupRefusedError(Exception):
    """What was asked for is none of this command's business. The text says why, and what to do."""


class Reading(Protocol):
    """A moment's view of the store, for one thread, within one block."""

    def head(self, config: str) -> Version | None:
        """Return the newest version's header; None where there is no such config."""

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        """Return which versions are the heads of these configs, as far as they exist: one question for all."""

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        """Return the headers of these versions, as far as they exist, by number."""

    def log(self, config: str, *, after: int, before: int, limit: int, newest_first: bool) -> list[Version]:
        """Return at most `limit` headers with after < number < before."""

    def version_at(self, config: str, time_us: int) -> int:
        """Return the newest version committed at or before a time; 0 where none was."""

    def changed_keys(self, config: str, numbers: Collection[int]) -> Mapping[int, Sequence[str]]:
        """Return the first CHANGED_KEYS_LIMIT keys that each of these versions changed, in order.

        Versions that changed none, or do not exist, are left out.
        """

    def configs(self, *, prefix: str, after: str, limit: int) -> list[ConfigSummary]:
        """Return at most `limit` configs whose names have a prefix and follow `after`, by name."""

    def entries(self, config: str, number: int, wanted: KeyFilter = EVERYTHING, *, after: str = "") -> Iterator[Entry]:
        """Yield the live entries of a version whose keys follow `after`, in key order."""

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        """Return what these keys were at a version: values and tombstones, each with its origin.

        Keys never set by then are left out. Costs the same however long the past is.
        """

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        """Return what these keys held at a version, as far as they held anything. Costs as `states` does."""

    def changed_between(
        self, config: str, low: int, high: int, wanted: KeyFilter = EVERYTHING, *, after: str = ""
    ) -> Iterator[str]:
        """Yield the keys that follow `after` and were changed by a version in (low, high], in order.

        A key may have been changed back, or set and deleted: who asks compares its states.
        """

    def key_history(
        self, config: str, key: str, *, after: int, before: int, limit: int, newest_first: bool
    ) -> list[KeyChange]:
        """Return at most `limit` changes of a key by versions with after < number < before."""

    def changes(
        self, config: str, *, after: tuple[int, str], through: int, wanted: KeyFilter = EVERYTHING
    ) -> Iterator[tuple[int, Change]]:
        """Yield (version, change) in order of version, then key, from just after a position.

        after    (number, key): the last change seen; (n, "") is before version n's first
        through  the last version wanted
        """

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """Return the remembered outcomes of request ids, each with its content's digest, as far as there are any."""


def changed_keys_of(reading: Reading, version: Version) -> Sequence[str]:
    """Return the first CHANGED_KEYS_LIMIT keys that one version changed, in order."""
    return reading.changed_keys(version.config, [version.number]).get(version.number, ())


class Writing(Reading, Protocol):
    """The one open write of a store."""

    def insert(self, plan: Plan) -> None:
        """Add one version. Its number must be the head's + 1: a store asserts that again."""

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """Keep the outcome of a request under its id, which must be new."""


class Notices(Protocol):
    """How the servers of one database tell each other that there is something to read.

    Nothing depends on a notice: it may be lost, late, doubled or out of order, and whoever
    hears it asks the store what is true. Belongs to the event loop, and blocks nobody.
    """

    async def tell(self, configs: Collection[str]) -> None:
        """Tell the other servers that these configs have new versions, which must be durable.

        Raises nothing: what could not be told is reported to the operator and given up.
        """

    async def hear(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        """Hear what other servers tell, until cancelled, through whatever goes wrong in between.

        on_listening  called whenever nothing is missed from now on, though what came
                      before may have been: now is the time to ask the store
        on_heard      called with a config of which another server has told
        """

    async def close(self) -> None:
        """End what `tell` has opened."""


class Store(Protocol):
    """Where configs are kept.

    is_shared   whether others may write to it too, so that what was read of a head may be old
    has_failed  whether it takes no more writes until it is opened anew
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it."""

    @property
    def has_failed(self) -> bool:
        """Whether a commit was not confirmed, and nothing can be known before a restart."""

    def read(self) -> AbstractContextManager[Reading]:
        """Open a reading block."""

    def write(self) -> AbstractContextManager[Writing]:
        """Open the writing block; waits for any other to end. Its end is the commit.

        Once the store has raised anything but the HashMismatchError of a row, the block is
        lost: whatever is asked of it then raises too, and so does its end, even where the
        error was caught.
        """

    def originated_since_keyframe(self, config: str) -> int:
        """Count the values that originated after the newest keyframe (from the start without one)."""

    def write_keyframe(self, config: str) -> None:
        """Associate every live value with the head as of now, in a transaction of its own.

        Changes no answer of any reading, only what it costs. Where there is a keyframe
        at the head already, or no key, nothing happens. Which values those are is read
        before, in no writer's way.
        """

    def notices(self) -> Notices | None:
        """Return a new way to tell and hear of commits; None where there is nobody else. Opens nothing yet."""

    def close(self) -> None:
        """Release everything. No block may be open."""
