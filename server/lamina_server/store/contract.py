"""What a store promises, in prose and as Protocols. Knows no database.

A store keeps configs: for each, the versions 1, 2, 3 … and the values that originated in
them. It only adds; it never changes or deletes. The committer uses `write()`; all others
use `read()`. The operator may compact a config (see compaction/): then the maps and changes
of the versions below a *cut* cannot be read any more, by a block that ends after that.

Guarantees
----------
Atomic      All inserts of one `write()` block become visible together when the block
            ends, or not at all.
Durable     When a `write()` block has ended without an error, its inserts survive a crash
            of the process and of the machine (except in a memory store).
Serial      At most one `write()` block is open on a store at any moment, across all
            processes. It reads everything that was ever committed, and its own inserts.
Immutable   The same question about version n always has the same answer, or CompactedError.
Intact      Every value is checked against its digest when it is read. A mismatch raises
            HashMismatchError; a wrong value is never returned.
Ordered     Keys and config names are ordered by code point (which is the order of their
            UTF-8 bytes), versions by number.

A reading block is not a snapshot. It sees everything that was committed before it was
opened, and perhaps what is committed meanwhile. A version that it has seen never goes
away and is never seen in part. So only questions about the head may get another answer
when they are asked again.

Errors
------
Whoever asks a reading block for values of a version below the cut gets CompactedError, at
the latest when the block ends: until then its answers count for nothing. A writing block
does not raise it: no cut is added meanwhile, so the caller compares with `oldest`.

If the caller or the store raises an exception within a `write()` block, nothing was
written. The same is true of DiskFullError. CommitUnknownError is raised only by the
*end* of the block: the block may or may not have been written, and the request id tells
later. If it is a StoreFailedError, the request id tells only after a restart, and the
store takes no more writes. Any other UnavailableError means that nothing was written:
an UnansweredError, that the database gave no answer, or refused. A DamagedError means
that the database has found itself damaged, and that nothing was written; a SQLite file
takes no more reads and writes then. HistoryBrokenError is a bug. A config or a version
that does not exist is no error here: the answer is None or empty, and the caller
decides what this means.

Threads
-------
Every call may block, so none is made on the event loop, except those of Notices. A Reading
or a Writing belongs to the thread that opened it. It ends with its block, and so do the
iterators that it has returned. Any number of `read()` blocks may be open at once, and one
`write()` block with them. If a store has fewer connections, a block waits for another one
to end, and raises UnavailableError if this takes too long.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, Protocol

from lamina_server.domain.errors import OperatorError, Reason, UnavailableError
from lamina_server.domain.planning import Plan
from lamina_server.domain.record import record
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
from lamina_server.domain.secrets import WrappedKey
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value


class CommitUnknownError(UnavailableError):
    """The end of a writing block has failed, and its rows may be there, now or later."""

    def __init__(self) -> None:
        super().__init__(Reason.STORE_UNAVAILABLE, "the database did not confirm the commit; it may have happened")


class UnansweredError(UnavailableError):
    """The database gave no answer, or refused, before any COMMIT.

    why    what is wrong, for callers: without the database's address
    lasts  whether only the operator can mend it, so that it is no use to try again soon
    """

    def __init__(self, why: str, *, lasts: bool = False) -> None:
        reason = Reason.STORE_UNUSABLE if lasts else Reason.STORE_UNAVAILABLE
        super().__init__(reason, f"the database cannot be used: {why}; nothing was written", wrote_nothing=True)
        self.why = why


class StoreFailedError(CommitUnknownError):
    """The commit is unknown, and what the store would read now may not be durable. It must be opened again."""


class OvertakenError(Exception):
    """Another writer was faster: what was staged cannot be used, and nothing was written."""


class HistoryBrokenError(Exception):
    """The inserts do not continue the config's history; nothing was written.

    This is a bug of the caller, or there is a writer that does not take the write lock.
    """

    @classmethod
    def version(cls, config: str, number: int, head: int) -> "HistoryBrokenError":
        """Return the error for a version that does not follow its config's head."""
        return cls(f"version {number} of {config!r} does not follow its head, version {head}")

    @classmethod
    def request(cls, request_id: str) -> "HistoryBrokenError":
        """Return the error for a request id that has an outcome already."""
        return cls(f"request id {request_id!r} has an outcome already")


class UnusableStoreError(OperatorError):
    """A database cannot be opened, or not safely. The text tells the operator why."""


class StoreNotReadyError(UnusableStoreError):
    """A database cannot be opened now, but may be soon: it is starting, cannot be reached, or another server has it."""


@record
class Upgrade:
    """An upgrade of a database's schema, from one revision to another, and the copy from before, where one was made."""

    before: str
    after: str
    backup: Path | None


class BackupRefusedError(OperatorError):
    """The backup command cannot do this. The text says why, and what to do."""


@record
class Expected:
    """What a writing block will ask first, so that a store may ask it together with the write lock.

    configs      whose heads it will ask for
    request_ids  whose outcomes it will ask for, by caller
    versions     how many versions it may insert
    """

    configs: Sequence[str]
    request_ids: Mapping[str, Sequence[str]]
    versions: int


@record
class Files:
    """The files of a database, in bytes, and the disk on which they are."""

    data_bytes: int
    log_bytes: int
    disk_bytes: int
    disk_free_bytes: int


@record
class StoreState:
    """What a store uses at a moment.

    kind         `sqlite`, `postgresql` or `memory`
    connections  by the name of a pool: how many are in use, and how many there may be
    files        None if they are not on this machine
    """

    kind: str
    connections: Mapping[str, tuple[int, int]]
    files: Files | None = None


class Reading(Protocol):
    """The reads of one thread within one block."""

    def oldest(self, config: str) -> int:
        """Return the oldest version whose map can be read; 1 if the config was never compacted."""

    def refuse_compacted(self) -> None:
        """Raise CompactedError if values were read that are below the cut by now, as the end of the block does.

        What was read until now has been checked then.
        """

    def head(self, config: str) -> Version | None:
        """Return the newest version's header; None if there is no such config."""

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        """Return the heads, and the oldest versions, of those of these configs that exist, with one statement."""

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        """Return the headers of those of these versions that exist, by number."""

    def log(self, config: str, *, after: int, before: int, limit: int, newest_first: bool) -> list[Version]:
        """Return at most `limit` headers with after < number < before."""

    def newest_commit_time_us(self) -> int:
        """Return when the version that was written last, of any config, was committed; 0 if there is none."""

    def version_at(self, config: str, time_us: int) -> int:
        """Return the newest version committed at or before a time; 0 if there was none."""

    def changed_keys(self, config: str, numbers: Collection[int]) -> Mapping[int, Sequence[str]]:
        """Return the first CHANGED_KEYS_LIMIT keys that each of these versions changed, in order.

        Versions that changed none, or do not exist, are left out.
        """

    def configs(self, *, prefix: str, after: str, limit: int) -> list[ConfigSummary]:
        """Return at most `limit` configs whose names have a prefix and follow `after`, by name."""

    def entries(self, config: str, number: int, wanted: KeyFilter = EVERYTHING, *, after: str = "") -> Iterator[Entry]:
        """Yield the live entries of a version whose keys follow `after`, in key order."""

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        """Return the states of these keys at a version: values and tombstones, each with its origin.

        Keys that had never been set are left out. The cost does not grow with the past.
        """

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        """Return the values of those of these keys that had one at a version. Costs as much as `states`."""

    def changed_between(
        self, config: str, low: int, high: int, wanted: KeyFilter = EVERYTHING, *, after: str = ""
    ) -> Iterator[str]:
        """Yield the keys that follow `after` and were changed by a version in (low, high], in order.

        A key may have been changed back, or set and deleted: the caller compares its states.
        """

    def key_history(
        self, config: str, key: str, *, after: int, before: int, limit: int, newest_first: bool
    ) -> list[KeyChange]:
        """Return at most `limit` changes of a key by versions with after < number < before.

        Changes below the cut are among them; most of these have no value any more, but a digest.
        """

    def changes(
        self, config: str, *, after: tuple[int, str], through: int, wanted: KeyFilter = EVERYTHING
    ) -> Iterator[tuple[int, Change]]:
        """Yield (version, change) in order of version, then key, from just after a position.

        after    (number, key): the last change seen; (n, "") is before version n's first
        through  the last version wanted
        """

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """Return the remembered outcomes of those request ids that have one, each with its content's digest."""

    def secret_keys(self) -> list[WrappedKey]:
        """Return all data keys in the order in which they were added: one that was wrapped anew comes again."""


def changed_keys_of(reading: Reading, version: Version) -> Sequence[str]:
    """Return the first CHANGED_KEYS_LIMIT keys that one version changed, in order."""
    return reading.changed_keys(version.config, [version.number]).get(version.number, ())


class Writing(Reading, Protocol):
    """The one open write of a store."""

    def insert(self, plan: Plan) -> None:
        """Add one version. Its number must be the head's + 1; the store checks this again."""

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """Keep the outcome of a request under its id, which must be new."""

    def add_secret_key(self, key: WrappedKey) -> None:
        """Add a data key, or one that is there as another outer key has wrapped it."""


class Staged(Protocol):
    """A version that is staged: its rows are ready, and nobody can read them. See Store.stage.

    One thread stages it and waits. Another thread may write it, once, or end it.
    """

    def wait(self) -> None:
        """Return when the version was written, or can no longer be. Belongs to the thread that has staged it."""

    def write(self) -> AbstractContextManager[Writing]:
        """Open the writing block, in which `insert` of the staged plan takes little time.

        The block must insert that plan, or raise. Raises OvertakenError if the version no longer follows its head.
        """

    def end(self) -> None:
        """Give up the rows. Never blocks."""


class Notices(Protocol):
    """How the servers of one database tell each other of new versions.

    Nothing depends on a notice: it may be lost, late, doubled or out of order. A server that
    hears one asks the store. Belongs to the event loop, and never blocks it.
    """

    async def tell(self, configs: Collection[str]) -> None:
        """Tell the other servers that these configs have new versions, which must be durable.

        Raises nothing: a notice that cannot be sent is logged and given up.
        """

    async def hear(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        """Hear what other servers tell until cancelled, whatever goes wrong meanwhile.

        on_listening  called each time the listening begins: earlier notices may have been
                      missed, so the caller should ask the store now
        on_heard      called with the config that another server has named
        """

    async def ping(self) -> None:
        """Open a new session and close it. Raises if the database refuses, or does not answer within some seconds."""

    async def close(self) -> None:
        """Close the connection that `tell` has opened."""


class Store(Protocol):
    """Where configs are kept.

    is_shared  whether other processes may write to it too, so that a head in memory may be old
    failure    why it takes no more writes until it is opened again; empty while it takes them
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it."""

    @property
    def failure(self) -> str:
        """What has happened to the database, and what to do about it, for the operator; empty while it works."""

    def read(self) -> AbstractContextManager[Reading]:
        """Open a reading block."""

    def write(self, expected: Expected | None = None) -> AbstractContextManager[Writing]:
        """Open the writing block, when any other has ended. Its end is the commit.

        `expected` changes no answer. It can save round trips to the database.

        Once the store has raised anything but the HashMismatchError of a row, the block is
        lost: every later call raises too, and so does its end, even if the error was caught.
        """

    def stage(self, plan: Plan, parent: HeadMark | None) -> AbstractContextManager[Staged]:
        """Make the rows of a large version ready, beside other writers. `parent` is the head that it follows.

        This takes as long as it takes to insert them. Then `Staged.write` holds the write lock for a short time only.
        The end of the block gives up what was not written: then nothing is left of it. One block of a store at a time.

        Raises OvertakenError if the version does not follow its config's head, or if another writer wants to insert
        the same version.
        """

    def state(self) -> StoreState:
        """Return what it uses now. Asks no database, but may ask the file system."""

    def check_writable(self) -> None:
        """Raise what a commit would raise now, as far as this can be known without writing anything.

        Do not wait for the write lock, and delay no commit. Return at once if a `write()` block
        of this process is open and keeps the database from being tried.
        """

    def originated_since_keyframe(self, config: str) -> int:
        """Count the values that originated after the newest keyframe, or all values if there is none."""

    def write_keyframe(self, config: str) -> None:
        """Associate every live value with the current head, in a transaction of its own.

        This changes no answer; it makes reads cheaper. It does nothing if the head has a
        keyframe already, or no keys. The values are read first, without the write lock.
        """

    def notices(self) -> Notices | None:
        """Return new notices, which have opened nothing yet; None if there are no other servers."""

    def close(self) -> None:
        """Close all connections. No block may be open; a keyframe under way is given up."""
