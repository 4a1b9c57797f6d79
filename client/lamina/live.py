"""A config's head as it is followed: one whole version at a time, and what is known of how new it is. Pure; no I/O.

Two shells run it, sync_live.py and aio_live.py, over the stream of one watch for all lives of a config.

Worked example: the head is version 7 when it is opened. A message brings versions 8 and 9: `entries` is first 7's map,
then 9's, never anything in between. The link breaks: STALE, still with 9, and `age` grows. It is back, and the first
message, a bookmark at 9, says that nothing was missed: LIVE, and the age is 0 again.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn, SupportsIndex, TypeAlias, TypeVar

from lamina import forking
from lamina.draft import Snapshot
from lamina.effects import Effect, Flow, Session, Verb, log
from lamina.entries import Entries
from lamina.errors import CursorError, DataLossError, LaminaError, NotFoundError
from lamina.flows import number_of, read_entries
from lamina.pinning import Pins, pinnable
from lamina.records import VersionChanges
from lamina.stage import applied
from lamina.watching import Following
from lamina.wire import header_of, version_changes_of, version_of
from lamina_protos.v1 import lamina_pb2 as pb

CALLBACKS_BEHIND: Final = 1_000
"""Versions that may wait for callbacks; then the map waits too, rather than that memory runs full."""

ENDING_SECONDS: Final = 1.0
"""How long `close` waits for what runs in the background: the stream is cancelled by then, and a file soon written."""

OnChange = TypeVar("OnChange", bound=Callable[[VersionChanges], Any])

Made: TypeAlias = tuple[pb.ConfigVersion, list[pb.Change]]
"""A version that came, and what it changed."""


class Callback(NamedTuple):
    """A function to call, the version that was shown already when it came, and the live that it was given to.

    That is kept by it, or the functions of `client.live(name).on_change(function)` would go with a live that nobody
    else has.
    """

    function: Callable[[VersionChanges], Any]
    since: int
    live: object


Callbacks: TypeAlias = list[Callback]
"""Of one live."""


class LiveState(StrEnum):
    """How new what a live shows is. Equal to their names as text."""

    LIVE = "LIVE"
    """Its stream is open and has caught up: a change arrives within a moment."""
    STALE = "STALE"
    """The link is lost, closed, ended by an error, or catching up: what it shows was the head `age` seconds ago."""
    OFFLINE = "OFFLINE"
    """What it shows is of a last-known-good file, or the default: no server has been reached since it was opened."""


class Tracking(Following):
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

    def at_rest(self) -> "Tracking":
        """Give what shows the same, and goes on showing it."""
        rest = Tracking(self._session, self.entries, known_at=self.known_at, is_offline=self.is_offline)
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

    def _receive(self) -> Flow[None]:
        return self._begin_anew() if self._is_lost else super()._receive()

    def _begin_anew(self) -> Flow[None]:
        """Go on with the head, whatever was shown; what is told of is the difference."""
        self.drop_stream()
        head = yield from read_entries(Verb(self._session), self._config)
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


class LiveView:
    """What both kinds of a live show, without a lock and without a call."""

    __slots__ = ("__weakref__", "_pins", "_tracking")

    _pins: Pins
    _tracking: Tracking

    @property
    def name(self) -> str:
        """The config's name."""
        return self._tracked().entries.header.config

    @property
    def current(self) -> Snapshot:
        """One whole version: read several keys of it, and they belong together."""
        return Snapshot(self._shown())

    @property
    def version(self) -> int:
        """The number of the version that it shows."""
        return self._shown().header.number

    @property
    def state(self) -> LiveState:
        """LIVE while its stream is open, STALE when it is lost, OFFLINE before there was one; equal to these names."""
        return self._tracked().state

    @property
    def age(self) -> float:
        """Seconds since a server last said that this version is the head; infinity for a default.

        A quiet config is confirmed every 30 s; in between a lost link is noticed by `state`, within 15 s if the server
        fell silent, and at once if the connection was closed.
        """
        return self._tracked().age

    @property
    def error(self) -> LaminaError | None:
        """The definite error that has ended it, such as a CursorError after a backup was restored; else None."""
        return self._tracked().failure

    def get(self, key: str, default: Any = None) -> Any:
        """Give a key's value, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def pin(self, snapshot: Snapshot | None = None) -> AbstractContextManager[Snapshot]:
        """Hold what is shown to one version for a `with` block: the newest, or what `at` or `carried` gave.

        It holds for the thread or asyncio task that runs the block, with the tasks that are begun in it, and for every
        live of this config in this client; others go on with the head. Pins nest. `state`, `age`, `error`, `wait` and
        what `on_change` calls are of the head, always. Plain in `lamina.aio` as well: nothing is asked for.
        """
        if snapshot is None:
            return self._pins.hold(self._to_pin)
        entries = pinnable(snapshot, self.name)
        return self._pins.hold(lambda: entries)

    def origin(self, key: str) -> int:
        """Tell which version set the key's value; KeyError where there is none."""
        return self._shown().origin(key)

    def __getitem__(self, key: str) -> Any:
        if self._pins.in_use:
            return self._shown().value(key)
        # All in one frame. Where `_tracked` has to be asked, as in a forked child, nothing was seen.
        seen = self._tracking.entries.seen
        return seen[key] if key in seen else self._tracked().entries.value(key)

    def __contains__(self, key: object) -> bool:
        if self._pins.in_use:
            return key in self._shown()
        return key in self._tracking.entries.seen or key in self._tracked().entries

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a mapping that moves cannot be read whole: iterate over live.current")

    def __repr__(self) -> str:
        tracking = self._tracking
        return f"<{type(self).__name__} {tracking.entries.header.config!r} version {self.version}, {tracking.state}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} belongs to its client and does not pickle or copy: live.current does")

    def _tracked(self) -> Tracking:
        """Give what is tracked; a shell sees here that it was forked."""
        return self._tracking

    def _shown(self) -> Entries:
        """Give what is shown here and now: what the running thread or task has pinned, else the newest."""
        if self._pins.in_use and (held := self._pins.held()) is not None:
            return held
        return self._tracked().entries

    def _to_pin(self) -> Entries:
        held = self._pins.held()
        if held is None:
            held = self._tracked().entries
            self._pins.keep(held)
        return held

    def _carried(self, session: Session, versions: Mapping[str, int]) -> Flow[Entries]:
        is_linked = self.state is LiveState.LIVE
        return self._pins.carried(session, self._shown(), versions.get(self.name), is_linked=is_linked)

    def _base(self) -> Entries:
        return self._shown()


def to_be_told(made: Made) -> VersionChanges | None:
    """Make what callbacks are called with. A value that this client does not know is reported: others may come."""
    try:
        return version_changes_of(*made)
    except LaminaError:
        log.exception("on_change: version %d of %s cannot be told", made[0].version, made[0].config)
        return None


def reached(tracking: Tracking, version: SupportsIndex) -> bool:
    """Tell whether a version was reached; raise what has ended the tracking. InvalidError for another config's."""
    if tracking.entries.header.number >= number_of(version, tracking.entries.header.config):
        return True
    if tracking.failure is not None:
        raise tracking.failure
    return False
