"""A watch as a sans-IO machine: it joins many streams, each of which may break anywhere, into one without a gap.

Two places are kept apart. The *position* is the last version that arrived whole: where the next stream resumes. The
*cursor* is the last version that the user has taken whole: where another watch, perhaps another process, resumes.

Worked example: a message brings versions 4, 5 and the first part of 6, then the link breaks. The position is 5, the
part of 6 is dropped, and the next stream, after 5, sends 6 again from its first part. The user takes the two changes of
version 4: with the second one the cursor moves from 3 to 4.
"""

import re
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeAlias, cast

from lamina._flows.effects import Flow, Open, Receive, Sleep
from lamina._flows.operation import Operation
from lamina._flows.points import Point, number_of
from lamina._flows.reads import header_at
from lamina._flows.session import Session
from lamina._mapping.values import check_text
from lamina._runtime.arguments import seconds
from lamina._wire.messages import timestamp_of, version_changes_of, version_of
from lamina.errors import CursorError, InvalidError, LimitError, UnavailableError
from lamina.records import KeyChange, Version, VersionChanges
from lamina_protos.v1 import lamina_pb2 as pb

REOPEN_FIRST_SECONDS: Final = 0.2
REOPEN_CEILING_SECONDS: Final = 10.0
"""The pause before a stream is opened again is drawn from 0 to a ceiling, doubled from the first to this one: after a
server was killed, thousands of watchers come back, and must not come at once. Of several servers each is tried before
the first pause: one that is there already has not to be waited for."""

After: TypeAlias = Point | str | None
"""Where a watch begins: a point in time, a cursor, or None."""

_ROUNDS: Final = 16
"""Doubled so often, a pause is far beyond its ceiling; a float has an end."""
_CURSOR: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9a-f]{64}))?", re.ASCII)


def parse_cursor(text: str) -> pb.Cursor:
    """Read a cursor, "<version>.<hash in hexadecimal>" or just "<version>"."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidError(f"{text!r} is no cursor: they are as watch.cursor gives them", reason="BAD_REQUEST")
    return pb.Cursor(version=number_of(int(match[1])), hash=bytes.fromhex(match[2] or ""))


def format_cursor(cursor: pb.Cursor) -> str:
    """Write a cursor as text."""
    return f"{cursor.version}.{cursor.hash.hex()}" if cursor.hash else str(cursor.version)


def listed(prefix: object) -> list[str]:
    """Return one prefix, or several, as a list; without the empty one, which every key has."""
    if not isinstance(prefix, Iterable):
        raise TypeError(f"prefix= is text, or several, not {type(prefix).__name__}")
    several = [prefix] if isinstance(prefix, str) else cast("Iterable[str]", prefix)
    return [each for each in several if each]


def check_timeout(timeout: float | None) -> float | None:
    """Give the seconds of silence that end a watch; InvalidError where none would be let pass."""
    if timeout is not None and not seconds(timeout, "timeout=") > 0:
        raise InvalidError(f"timeout={timeout}: a watch takes seconds of silence above 0", reason="BAD_REQUEST")
    return timeout


class WatchEnded(Exception):  # noqa: N818 - it is no error
    """The loop is over: closed, or silent for too long. Between a watch and its shell: no user sees it."""


class WatchStream:
    """One watch: what it asks for, where it stands, and what has arrived but has not been taken."""

    def __init__(
        self, session: Session, base: Version, keys: Iterable[str], prefixes: Iterable[str], after: After
    ) -> None:
        self._session = session
        self._config = base.config
        self._keys = [check_text(key, "a key") for key in keys]
        self._prefixes = [check_text(prefix, "a prefix") for prefix in prefixes]
        self._time = after if isinstance(after, datetime) else None
        if self._time is not None:
            timestamp_of(self._time)  # refuses a naive one now, not when the watch begins
        self._position = None if isinstance(after, datetime) else _start(base, after)
        self._cursor: pb.Cursor | None = self._position
        self._ready: deque[VersionChanges | pb.Cursor] = deque()
        self._taken = 0  # how many changes of the first version that is ready
        self._parts: list[pb.Change] = []
        self._open = False
        self._was_let_in = False
        self._opened_at = 0.0
        self._failures = 0

    @property
    def cursor(self) -> str:
        """The last version taken whole; empty until a watch after a time has found which version that is."""
        return "" if self._cursor is None else format_cursor(self._cursor)

    def next_change(self) -> Flow[KeyChange]:
        """Take one change; with a version's last one the cursor moves."""
        version = yield from self._first_ready()
        change = version.changes[self._taken]
        self._taken += 1
        if self._taken == len(version.changes):
            self._finish(version)
        return change

    def next_version(self) -> Flow[VersionChanges]:
        """Take a whole version, one of which changes were taken already included; the cursor moves."""
        version = yield from self._first_ready()
        self._finish(version)
        return version

    def drop_stream(self) -> None:
        """Know that the stream is gone; the next one resumes after the position."""
        self._open = False

    def _first_ready(self) -> Flow[VersionChanges]:
        while not self._ready:
            yield from self._progress()
        first = self._ready[0]
        assert isinstance(first, VersionChanges)
        return first

    def _progress(self) -> Flow[None]:
        """Take the stream's next message, or let a pause pass after the stream was lost and no other server is left."""
        try:
            yield from self._receive()
        except (UnavailableError, LimitError) as error:
            # What was let in before is refused for how many there are just now: soon there may be fewer.
            if isinstance(error, LimitError) and (error.reason != "TOO_MANY" or not self._was_let_in):
                raise
            if self._open and self._session.clock() - self._opened_at >= REOPEN_CEILING_SECONDS:
                self._failures = 0  # an idle config's stream, too, which moves nothing on, has been there for long
            self._open = False
            yield from self._pause()
        except CursorError as error:
            error.cursor = self.cursor
            raise

    def _pause(self) -> Flow[None]:
        """Let time pass after a failure, more after each, once every server has had its turn."""
        self._failures += 1
        rounds = self._failures - self._session.servers
        if rounds >= 0:
            ceiling = min(REOPEN_CEILING_SECONDS, REOPEN_FIRST_SECONDS * 2 ** min(rounds, _ROUNDS))
            yield Sleep(self._session.uniform(0, ceiling))

    def _receive(self) -> Flow[None]:
        if self._time is not None and self._position is None:
            header = yield from header_at(Operation(self._session), self._config, self._time)
            self._position = self._cursor = _cursor_at(header)
        if not self._open:
            self._forget_parts()
            yield Open(self._request())
            self._open, self._opened_at = True, self._session.clock()
        self._take((yield Receive()))
        self._was_let_in = True

    def _request(self) -> pb.WatchKeyHistoryRequest:
        return pb.WatchKeyHistoryRequest(
            config=self._config, keys=self._keys, prefixes=self._prefixes, after=self._position
        )

    def _take(self, message: pb.WatchKeyHistoryResponse) -> None:
        """Sort a message into what is whole; what came before is dropped, so nothing is taken twice."""
        for part in message.changes:
            self._parts.extend(part.changes)
            if not part.more:
                self._whole(part.version)
        if message.HasField("bookmark") and message.bookmark.version > self._reached:
            self._moved(pb.Cursor(version=message.bookmark.version, hash=message.bookmark.hash))
            self._mark()

    def _forget_parts(self) -> None:
        """Drop what there is of a version that was cut in between: it comes again whole."""
        self._parts = []

    def _whole(self, header: pb.ConfigVersion) -> None:
        changes, self._parts = self._parts, []
        if header.version <= self._reached:
            return
        self._session.horizon.saw(version_of(header))
        self._moved(pb.Cursor(version=header.version, hash=header.hash))
        if changes:
            self._ready.append(version_changes_of(header, changes))

    @property
    def _reached(self) -> int:
        return 0 if self._position is None else self._position.version

    def _moved(self, position: pb.Cursor) -> None:
        self._position = position
        self._failures = 0  # the way is open again: what moves the watch on proves it, or a stream that lasts

    def _mark(self) -> None:
        """Let the cursor follow a bookmark, once everything before it has been taken."""
        if self._ready:
            assert self._position is not None
            self._ready.append(self._position)
        else:
            self._cursor = self._position

    def _finish(self, version: VersionChanges) -> None:
        self._ready.popleft()
        self._taken = 0
        self._cursor = pb.Cursor(version=version.version, hash=bytes.fromhex(version.hash))
        while self._ready and isinstance(mark := self._ready[0], pb.Cursor):
            self._cursor = mark
            self._ready.popleft()


def _start(base: Version, after: Point | str | None) -> pb.Cursor:
    if after is None:
        return _cursor_at(base)
    if isinstance(after, str):
        return parse_cursor(after)
    assert not isinstance(after, datetime)
    number = number_of(after, base.config)
    if isinstance(after, Version):
        return _cursor_at(after)
    return _cursor_at(base) if number == base.number else pb.Cursor(version=number)


def _cursor_at(version: Version) -> pb.Cursor:
    return pb.Cursor(version=version.number, hash=bytes.fromhex(version.hash))
