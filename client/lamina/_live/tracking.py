"""A config's head as it is followed: one whole version at a time, and what is known of how new it is. Pure; no I/O.

Two shells run it, sync_live.py and aio_live.py, over the stream of one watch for all lives of a config.

Worked example: the head is version 7 when it is opened. A message brings versions 8 and 9: `entries` is first 7's map,
then 9's, never anything in between. The link breaks: STALE, still with 9, and `age` grows. It is back, and the first
message, a bookmark at 9, says that nothing was missed: LIVE, and the age is 0 again.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, TypeAlias

from lamina._flows.effects import Effect, Flow
from lamina._flows.operation import Operation
from lamina._flows.reads import read_entries
from lamina._flows.session import Session
from lamina._live.state import LiveState
from lamina._mapping.entries import Entries
from lamina._mapping.stage import applied
from lamina._runtime import forking
from lamina._runtime.log import log
from lamina._streams.watch import WatchStream
from lamina._wire.causes import PROXY
from lamina._wire.messages import header_of, version_of
from lamina.errors import CursorError, DataLossError, LaminaError, NotFoundError
from lamina_protos.v1 import lamina_pb2 as pb

CALLBACKS_BEHIND: Final = 1_000
"""Versions that may wait for callbacks; then the map waits too, rather than that memory runs full."""

ENDING_SECONDS: Final = 1.0
"""How long `close` waits for what runs in the background: the stream is cancelled by then, and a file soon written."""


Made: TypeAlias = tuple[pb.ConfigVersion, list[pb.Change]]
"""A version that came, and what it changed."""


class HeadTracker(WatchStream):
    """A config's newest known version, moved on by a watch. Written by whoever runs it, read by anybody at any time.

    entries     the whole map; replaced, never changed
    known_at    when a server last said that this is the head, by the session's clock
    is_offline  whether the entries did not come from a server, but from a file, or are a default, and then version 0
    failure     the definite error that has ended it
    """

    def __init__(
        self, session: Session, entries: Entries, *, known_at: float | None = None, is_offline: bool = False
    ) -> None:
        """Begin at a version; it is the head just now, unless it is said when it was."""
        super().__init__(session, entries.header, (), (), None)
        self.entries = entries
        self.known_at = session.clock() if known_at is None else known_at
        self.is_offline = is_offline
        # Whether there is nothing of the server's past that a stream could go on after.
        self._is_lost = is_offline and not entries.header.number
        self.failure: LaminaError | None = None
        self._latest = entries
        self._made: list[Made] = []
        # Its stream has told all that there was when it began: what comes from then on is the head.
        self._caught_up = known_at is None
        self._held_up = False
        self._process = forking.process

    @property
    def state(self) -> LiveState:
        """How new the entries are."""
        if self.is_offline:
            return LiveState.OFFLINE
        is_live = self._caught_up and not self._held_up and self._process is forking.process
        return LiveState.LIVE if is_live else LiveState.STALE

    @property
    def age(self) -> float:
        """How many seconds ago the entries were known to be the head; infinity for a default, which never was."""
        return max(self._session.clock() - self.known_at, 0.0)

    @property
    def shown_already(self) -> int:
        """The number of the version that a function which is given now need not be called with, nor with older ones.

        What is shown offline may be followed by any version: after a backup was restored, by one of a lower number.
        """
        return -1 if self.is_offline else self.entries.header.number

    @property
    def place(self) -> str:
        """How far it has come, for a message."""
        return f"{self._config} is at version {self.entries.header.number}"

    def step(self) -> Flow[list[Made]]:
        """Take one message, or let a pause pass; return the versions that came, which `entries` have by then."""
        yield from self._observed(self._progress())
        made, self._made = self._made, []
        return made

    def at_rest(self) -> "HeadTracker":
        """Give what shows the same, and goes on showing it."""
        rest = HeadTracker(self._session, self.entries, known_at=self.known_at, is_offline=self.is_offline)
        rest.end(self.failure)
        return rest

    def end(self, failure: LaminaError | None = None) -> None:
        """Follow no more."""
        self.failure = failure
        self._caught_up = False

    @contextmanager
    def held_up(self) -> Generator[None, None, None]:
        """Know that what comes is not taken while the block lasts."""
        self._held_up = True
        try:
            yield
        finally:
            self._held_up = False

    def _progress(self) -> Flow[None]:
        try:
            yield from super()._progress()
        except NotFoundError:
            if not self.is_offline:
                raise
            self._is_lost = True
            yield from self._pause()
        except CursorError as error:
            if not self.is_offline or self._is_lost:
                raise
            self._is_lost = True
            log.warning("%s, which the server's past does not have: %s", self.place, error)
        except LaminaError as error:
            if not self.is_offline or error.reason != PROXY:
                raise
            self.drop_stream()
            yield from self._pause()

    def _receive(self) -> Flow[None]:
        return self._begin_anew() if self._is_lost else super()._receive()

    def _begin_anew(self) -> Flow[None]:
        """Go on with the head, whatever was shown; what is told of is the difference."""
        self.drop_stream()
        head = yield from read_entries(Operation(self._session), self._config)
        made = header_of(head.header), head.changes_since(self.entries)
        self._position = self._cursor = pb.Cursor(version=head.header.number, hash=made[0].hash)
        self._made.append(made)
        self._latest = head
        self._show_latest(is_head=True)

    def _show_latest(self, *, is_head: bool) -> None:
        """Show what a server has told, or has confirmed to be in its past."""
        if self.is_offline:
            self._session.horizon.saw(self._latest.header)
        self.entries = self._latest
        if is_head:
            self.known_at = self._session.clock()
        if self.is_offline:
            self.is_offline = self._is_lost = False  # after the entries: see `shown_already`
            log.info("a server has been reached: %s", self.place)

    def _observed(self, flow: Flow[None]) -> Flow[None]:
        """Run a flow, and see by what becomes of its effects whether the link holds."""
        try:
            effect: Effect = next(flow)
            while True:
                try:
                    result = yield effect
                except LaminaError as error:
                    self._caught_up = False
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration:
            return

    def _take(self, message: pb.WatchKeyHistoryResponse) -> None:
        super()._take(message)
        if self._reached != self._latest.header.number:
            raise self._left_out(f"a bookmark at {self._reached} came")
        # A stream's first bookmark says that it has caught up: until then the versions that come are old ones.
        self._caught_up = self._caught_up or message.HasField("bookmark")
        self._show_latest(is_head=self._caught_up)

    def _whole(self, header: pb.ConfigVersion) -> None:
        changes, self._parts = self._parts, []
        if header.version <= self._reached:
            return
        if header.version != self._latest.header.number + 1:
            raise self._left_out(f"{header.version} came")
        version = version_of(header)
        self._session.horizon.saw(version)
        latest = applied(self._latest, version, changes)
        if len(latest) != header.key_count:
            raise self._left_out(f"in part: it has {header.key_count} keys, and {len(latest)} came")
        self._latest = latest
        self._made.append((header, changes))
        self._moved(pb.Cursor(version=header.version, hash=header.hash))
        self._cursor = self._position

    def _left_out(self, why: str) -> DataLossError:
        number = self._latest.header.number + 1
        return DataLossError(f"version {number} of {self._config} was left out: {why}", reason="HASH_MISMATCH")
