"""What one watcher does next and what it has received, without any I/O: the part that all kinds of watchers share."""

import random
import threading
from collections.abc import Callable

from lamina import KeyChange, VersionChanges
from lamina_protos.v1 import lamina_pb2 as pb
from tests.faults.watches.guarantees import EXPECTED_ENDS
from tests.faults.watches.records import Bookmark, Cursor, Filter, Part, Session, Watcher, mark_of
from tests.faults.watches.writers import END

IMPATIENT, PATIENCE = 0.3, 12
"""The probability that a watcher cancels a stream by itself, and after how many messages at most."""
GOES_BACK, OLDER = 0.15, 20
"""The probability that a watcher resumes after an older cursor than its last, and how much older, in cursors."""
BOOKMARK_SECONDS = 1


class Logbook:
    """One watcher's record, and its decisions.

    begun    set once the version is known after which it must receive everything
    done     whether it is over: it has received the last version, or was refused, or stopped
    cuts     how many of its streams ended by themselves after they had brought something
    cancels  how many it cancelled
    """

    def __init__(self, name: str, config: str, wanted: Filter, start: Cursor | None, seed: int) -> None:
        self.watcher = Watcher(name, config, wanted, start)
        self.dice = random.Random(f"{seed} {name}")
        self.begun = threading.Event()
        self.done = False
        self._cancel: Callable[[], object] = lambda: None
        self.cuts = self.cancels = 0
        self._cursors = [start] if start else []
        self._patience: int | None = None

    @property
    def newest(self) -> Cursor | None:
        """The last cursor that the watcher received."""
        return self._cursors[-1] if self._cursors else None

    def stop(self) -> None:
        """End the watcher, whatever it waits for. Can be called from any thread."""
        self.done = True
        self._cancel()

    def cancellable(self, cancel: Callable[[], object]) -> None:
        """Note how to cancel what the watcher waits for from now on."""
        self._cancel = cancel
        if self.done:  # `stop` sets it before it reads `_cancel`, so one of the two threads cancels
            cancel()

    def open(self) -> pb.WatchKeyHistoryRequest:
        """Begin a session of the bare stubs."""
        older = self._cursors and self.dice.random() < GOES_BACK
        after = self.dice.choice(self._cursors[-OLDER:]) if older else self.newest
        self.opened(after)
        request = pb.WatchKeyHistoryRequest(
            config=self.watcher.config, keys=self.watcher.filter.keys, prefixes=self.watcher.filter.prefixes
        )
        request.bookmark_interval.FromSeconds(BOOKMARK_SECONDS)
        if after is not None:
            request.after.version, request.after.hash = after.version, bytes.fromhex(after.hash)
        return request

    def opened(self, after: Cursor | None) -> None:
        """Note that a session begins, and draw when the watcher will end it."""
        self.watcher.sessions.append(Session(after))
        self._patience = self.dice.randint(0, PATIENCE) if self.dice.random() < IMPATIENT else None

    def start_of_sdk(self) -> str | None:
        """Return the cursor to start at, as a text that the SDK reads."""
        start = self.watcher.start
        return None if start is None else f"{start.version}.{start.hash}".removesuffix(".")

    def began(self, cursor: Cursor) -> None:
        """Note that a session of the SDK begins; without a cursor, it begins at the config's head."""
        if self.watcher.start is None:
            self.watcher.start = cursor
            self._cursors.append(cursor)
        self.begun.set()
        self.opened(cursor)

    def take(self, message: pb.WatchKeyHistoryResponse) -> bool:
        """Note a message; return whether to go on with this stream."""
        for part in message.changes:
            header = part.version
            changes = tuple((c.key, None if c.deleted else mark_of(c.value.string)) for c in part.changes)
            self._received(Part(header.version, header.hash.hex(), changes, part.more))
            self.done |= header.message == END and not part.more
        if message.HasField("bookmark"):
            self._received(Bookmark(message.bookmark.version, message.bookmark.hash.hex()))
        return self._goes_on()

    def take_version(self, version: VersionChanges) -> bool:
        """Note a version as the SDK returns it; return whether to go on with this watch."""
        self._received(Part(version.version, version.hash, tuple(map(_marked, version.changes))))
        self.done |= version.message == END
        return self._goes_on()

    def mark(self, cursor: Cursor) -> None:
        """Note the SDK's cursor: a bookmark may have moved it."""
        if cursor != self.newest:
            self._received(Bookmark(cursor.version, cursor.hash))

    def ended(self, reason: str) -> None:
        """Note that the stream has ended by itself. After a refusal there is no other stream."""
        if self.done:
            return  # we ended it
        session = self.watcher.sessions[-1]
        session.reason = reason
        self.cuts += bool(session.received)  # otherwise it was never open, for example because the server is down
        self.done |= reason not in EXPECTED_ENDS

    def _received(self, item: Part | Bookmark) -> None:
        self.watcher.sessions[-1].received.append(item)
        self.begun.set()
        if isinstance(item, Bookmark) or not item.more:
            self._cursors.append(Cursor(item.version, item.hash))

    def _goes_on(self) -> bool:
        if self._patience is None or self.done:
            return not self.done
        self._patience -= 1
        self.cancels += self._patience < 0
        return self._patience >= 0


def parse(cursor: str) -> Cursor:
    """Read a cursor of the SDK."""
    version, _, hash_ = cursor.partition(".")
    return Cursor(int(version), hash_)


def _marked(change: KeyChange) -> tuple[str, str | None]:
    return change.key, None if change.deleted else mark_of(change.value)
