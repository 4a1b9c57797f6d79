"""The changes that a watch has received and its user has not taken yet.

Two places are kept apart. The stream's *position* is the last version that arrived whole: the next stream resumes
there. The *cursor* is the last version that the user has taken whole: another watch, perhaps in another process,
resumes there.

Worked example: the stream brings version 4 with two changes, then version 5. The position is 5 and the cursor 3. The
user takes the two changes of version 4: with the second one the cursor moves from 3 to 4.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from lamina._flows.answers import wrong
from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.reads import header_at
from lamina._flows.session import Session
from lamina._mapping.values import check_text
from lamina._runtime.arguments import seconds
from lamina._streams.cursor import After, cursor_after, cursor_at, format_cursor
from lamina._streams.watch import WatchStream
from lamina._wire.messages import timestamp_of, version_changes_of, version_of
from lamina.errors import CursorError, InvalidError
from lamina.records import KeyChange, Version, VersionChanges
from lamina_protos.v1 import lamina_pb2 as pb


def listed(prefix: object) -> list[str]:
    """Return one prefix, or several, as a list, without the empty prefix, which every key has."""
    if not isinstance(prefix, Iterable):
        raise TypeError(f"prefix= is text, or several, not {type(prefix).__name__}")
    several = [prefix] if isinstance(prefix, str) else cast("Iterable[str]", prefix)
    return [each for each in several if each]


def check_timeout(timeout: float | None) -> float | None:
    """Return the seconds of silence that end a watch; InvalidError unless they are above 0."""
    if timeout is not None and not seconds(timeout, "timeout=") > 0:
        raise InvalidError(f"timeout={timeout}: a watch takes seconds of silence above 0", reason="BAD_REQUEST")
    return timeout


class WatchQueue:
    """The receiver of one watch's stream, from which its user takes changes or whole versions."""

    def __init__(
        self, session: Session, base: Version, keys: Iterable[str], prefixes: Iterable[str], after: After
    ) -> None:
        self._session = session
        request = pb.WatchKeyHistoryRequest(
            config=base.config,
            keys=[check_text(key, "a key") for key in keys],
            prefixes=[check_text(prefix, "a prefix") for prefix in prefixes],
            after=cursor_after(base, after),
        )
        self._cursor: pb.Cursor | None = None
        if isinstance(after, datetime):
            timestamp_of(after)  # refuses a time without a zone now, not when the watch begins
            self.stream = WatchStream(session, request, self, locate=lambda: self._find(base.config, after))
        else:
            self.stream = WatchStream(session, request, self)
            self._cursor = self.stream.position
        self._ready: deque[VersionChanges | pb.Cursor] = deque()
        self._taken = 0  # the number of changes taken from the first ready version
        self._config = base.config
        self._parts: list[pb.Change] = []
        self._joining = 0  # the version that these parts are of

    @property
    def cursor(self) -> str:
        """The last version taken whole; empty until a watch after a time has found its version."""
        return "" if self._cursor is None else format_cursor(self._cursor)

    def next_change(self) -> Flow[KeyChange]:
        """Take one change. The last one of a version moves the cursor."""
        version = yield from self._first_ready()
        change = version.changes[self._taken]
        self._taken += 1
        if self._taken == len(version.changes):
            self._finish(version)
        return change

    def next_version(self) -> Flow[VersionChanges]:
        """Take a whole version, which moves the cursor. It includes changes that were already taken one by one."""
        version = yield from self._first_ready()
        self._finish(version)
        return version

    def part(self, part: pb.VersionChanges) -> None:
        """Join the parts of a version; make it ready with the last one. Nothing becomes ready twice."""
        header = part.version
        if header.config != self._config:
            raise wrong(f"a version of {header.config!r} came in the watch of {self._config}")
        if header.version <= self.stream.position.version:
            return
        if self._parts and header.version != self._joining:
            raise wrong(f"version {self._joining} of {self._config} came in part, and then version {header.version}")
        self._joining = header.version
        self._parts.extend(part.changes)
        if part.more:
            return
        changes, self._parts = self._parts, []
        self._session.horizon.saw(version_of(part.version))
        if changes:
            self._ready.append(version_changes_of(part.version, changes))

    def bookmark(self, cursor: pb.Cursor) -> None:
        """Move the cursor to the bookmark once everything before it has been taken."""
        if self._ready:
            self._ready.append(cursor)
        else:
            self._cursor = cursor

    def interrupted(self) -> None:
        """Drop the parts of a version that will arrive again."""
        self._parts = []

    def _find(self, config: str, time: datetime) -> Flow[pb.Cursor]:
        self._cursor = cursor_at((yield from header_at(Operation(self._session), config, time)))
        return self._cursor

    def _first_ready(self) -> Flow[VersionChanges]:
        while not self._ready:
            try:
                yield from self.stream.step()
            except CursorError as error:
                error.cursor = self.cursor  # the stream's position may be ahead of the taken changes
                raise
        first = self._ready[0]
        assert isinstance(first, VersionChanges)
        return first

    def _finish(self, version: VersionChanges) -> None:
        self._ready.popleft()
        self._taken = 0
        self._cursor = pb.Cursor(version=version.version, hash=bytes.fromhex(version.hash))
        while self._ready and isinstance(mark := self._ready[0], pb.Cursor):
            self._cursor = mark
            self._ready.popleft()
