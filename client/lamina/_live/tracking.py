"""A config's head while a live follows it: one whole version at a time, and when it was known to be the head. No I/O.

Two shells run it, _grpc/sync and _grpc/aio, over one watch's stream for all lives of a config.

Worked example: the head is version 7 when it is opened. A message brings versions 8 and 9: `entries` is first 7's map,
then 9's, never anything in between. The link breaks: STALE, still with 9, and `age` grows. It comes back, and the
first message, a bookmark at 9, shows that nothing was missed: LIVE, and the age is 0 again.

If it was away for so long that the versions after its own were compacted, it goes on with the newest one, and its
callbacks receive the difference.

A live outlasts what may be taken back: its token has expired, or its right to read the config was taken. It stays at
its version, STALE, says why, and asks again.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from lamina._flows.answers import wrong
from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.reads import read_entries
from lamina._flows.session import Session
from lamina._live.state import LiveState
from lamina._mapping.entries import Entries
from lamina._mapping.secret import Absence
from lamina._mapping.stage import applied
from lamina._runtime import forking
from lamina._runtime.log import log
from lamina._streams.cursor import cursor_at
from lamina._streams.watch import WatchStream
from lamina._wire.causes import PROXY
from lamina._wire.hashing import is_made_of
from lamina._wire.messages import header_of, version_of
from lamina.errors import (
    CursorError,
    DataLossError,
    LaminaError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    VersionCompactedError,
)
from lamina_protos.v1 import lamina_pb2 as pb


class ReceivedVersion(NamedTuple):
    """A new version, and its changes."""

    header: pb.ConfigVersion
    changes: list[pb.Change]


class HeadTracker:
    """A config's newest known version, moved on by a watch's stream. One thread or task runs it; any may read it.

    entries     the whole map; replaced, never changed
    known_at    when a server last said that this is the head, by the session's clock
    part_at     when the last part of a version that is not whole yet arrived, by the same clock
    is_offline  whether the entries came from a file, or are a default, which is version 0, instead of from a server
    failure     the definite error that has ended it
    refusal     the error with which servers refuse to go on at present
    """

    def __init__(
        self, session: Session, entries: Entries, *, known_at: float | None = None, is_offline: bool = False
    ) -> None:
        """Begin at a version. It is the head now, unless `known_at` says when it was."""
        self._session = session
        self._config = entries.header.config
        self.entries = entries
        self.known_at = session.clock() if known_at is None else known_at
        self.part_at = -math.inf
        self.is_offline = is_offline
        self.failure: LaminaError | None = None
        self.refusal: LaminaError | None = None
        # Whether there is no version of the server after which the stream could continue: only changes come then, and a
        # file may have left out the contents of secrets that do not change.
        lacks_contents = entries.source.absence is Absence.CACHED
        self._is_lost = is_offline and (lacks_contents or not entries.header.number)
        request = pb.WatchKeyHistoryRequest(config=self._config, after=cursor_at(entries.header))
        locate = self._read_head if self._is_lost else None
        self.stream = WatchStream(session, request, self, locate=locate, outlasts=self._outlasts)
        self._latest = entries
        self._parts: list[pb.Change] = []
        self._received: list[ReceivedVersion] = []
        # Whether the stream has sent all versions that existed when it began: each later version is the head.
        self._is_caught_up = known_at is None
        self._is_held_up = False
        self._process = forking.process

    @property
    def state(self) -> LiveState:
        """How current the entries are."""
        if self.is_offline:
            return LiveState.OFFLINE
        is_live = self._is_caught_up and not self._is_held_up and self._process is forking.process
        return LiveState.LIVE if is_live else LiveState.STALE

    @property
    def age(self) -> float:
        """How many seconds ago the entries were known to be the head; infinity for a default, which never was."""
        return max(self._session.clock() - self.known_at, 0.0)

    @property
    def shown_already(self) -> int:
        """The newest version number that a function added now must not receive.

        Offline any version may follow: after a backup was restored, even one of a lower number.
        """
        return -1 if self.is_offline else self.entries.header.number

    @property
    def place(self) -> str:
        """The position, for an error's text."""
        return f"{self._config} is at version {self.entries.header.number}"

    @property
    def why(self) -> str:
        """Why it does not go on, to follow an error's text; empty if nothing is known."""
        return "" if self.refusal is None else f": {self.refusal}"

    def step(self) -> Flow[list[ReceivedVersion]]:
        """Take one message, or pause; return the new versions, which `entries` include by then."""
        try:
            if (yield from self.stream.step()):
                self.refusal = None
                self._show_latest(is_head=self._is_caught_up)  # all versions of one message at once
        except NotFoundError as error:
            if not self.is_offline:
                raise
            self._begin_again()
            yield from self.stream.pause(error)
        except VersionCompactedError as error:
            log.warning("%s, and goes on with the newest version: %s", self.place, error)
            self._begin_again()
        except CursorError as error:
            if not self.is_offline or self._is_lost:
                raise
            self._begin_again()
            log.warning("%s, which the server's past does not have: %s", self.place, error)
        except LaminaError as error:
            if not self.is_offline or error.reason != PROXY:
                raise
            yield from self.stream.pause(error)
        received, self._received = self._received, []
        return received

    def at_rest(self) -> "HeadTracker":
        """Return a copy that keeps showing the same version."""
        rest = HeadTracker(self._session, self.entries, known_at=self.known_at, is_offline=self.is_offline)
        rest.end(self.failure)
        return rest

    def end(self, failure: LaminaError | None = None) -> None:
        """Stop following."""
        self.failure = failure
        self._is_caught_up = False

    @contextmanager
    def held_up(self) -> Generator[None, None, None]:
        """Mark the tracker as held up for the duration of the block: no message is taken."""
        self._is_held_up = True
        try:
            yield
        finally:
            self._is_held_up = False

    # --- messages of the stream -----------------------------------------------------------------

    def part(self, part: pb.VersionChanges) -> None:
        """Join the parts of a version; apply it with the last one. `step` shows it."""
        header = part.version
        if header.config != self._config:
            raise wrong(f"a version of {header.config!r} came in the watch of {self._config}")
        if header.version <= self._latest.header.number:
            return
        if header.version != self._latest.header.number + 1:
            raise self._left_out(f"{header.version} came")
        self._parts.extend(part.changes)
        if part.more:
            self.part_at = self._session.clock()
            return
        changes, self._parts = self._parts, []
        if not is_made_of(header, self._latest.header, changes):
            raise wrong(f"version {header.version} of {self._config} does not match its hash")
        version = version_of(header)
        self._session.horizon.saw(version)
        latest = applied(self._latest, version, changes)
        if len(latest) != header.key_count:
            raise self._left_out(f"in part: it has {header.key_count} keys, and {len(latest)} came")
        self._latest = latest
        self._received.append(ReceivedVersion(header, changes))

    def bookmark(self, cursor: pb.Cursor) -> None:
        """Note that the stream has caught up: the versions that came before its first bookmark are old ones."""
        if cursor.version != self._latest.header.number:
            raise self._left_out(f"a bookmark at {cursor.version} came")
        self._is_caught_up = True

    def interrupted(self) -> None:
        """Drop the parts of a version that will arrive again; what is shown may be old from now on."""
        self._parts = []
        self._is_caught_up = False

    # --- refusals ---------------------------------------------------------------------------------

    def _outlasts(self, error: LaminaError) -> bool:
        """Return whether an error may be taken back, by a new token or a grant; note it, and log it once."""
        is_refusal = isinstance(error, UnauthenticatedError | PermissionDeniedError) and error.reason != PROXY
        if not is_refusal:
            if not self._looks_absent(error):
                return False
            if isinstance(self.refusal, PermissionDeniedError):
                return True  # which says more
        if self.refusal is None or str(self.refusal) != str(error):
            log.error("%s, and stays there until it is let in again: %s", self.place, error)
        self.refusal = error
        return True

    def _looks_absent(self, error: LaminaError) -> bool:
        """Return whether the config seems to have no version any more: it looks so to a caller who may not read it."""
        is_absent = isinstance(error, CursorError) and error.reason == "CURSOR_AHEAD" and error.head == 0
        return is_absent and self._session.has_credential

    # --- without a version to continue after --------------------------------------------------------

    def _begin_again(self) -> None:
        self._is_lost = True
        self._received = []
        self.stream.locate_by(self._read_head)

    def _read_head(self) -> Flow[pb.Cursor]:
        """Continue with the server's head, whatever was shown; callbacks receive the difference."""
        head = yield from read_entries(Operation(self._session), self._config)
        if head.header != self.entries.header:  # otherwise only contents of secrets were missing
            self._received.append(ReceivedVersion(header_of(head.header), head.changes_since(self.entries)))
        self._latest = head
        self._show_latest(is_head=True)
        return cursor_at(head.header)

    def _show_latest(self, *, is_head: bool) -> None:
        """Show entries that a server has sent, or has confirmed."""
        if self.is_offline:
            self._session.horizon.saw(self._latest.header)
        self.entries = self._latest
        if is_head:
            self.known_at = self._session.clock()
        if self.is_offline:
            self.is_offline = self._is_lost = False  # after the entries: see `shown_already`
            log.info("a server has been reached: %s", self.place)

    def _left_out(self, why: str) -> DataLossError:
        number = self._latest.header.number + 1
        return DataLossError(f"version {number} of {self._config} was left out: {why}", reason="HASH_MISMATCH")
