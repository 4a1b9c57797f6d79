"""What both clients' lives show."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, SupportsIndex, TypeAlias, TypeVar

from lamina._flows.effects import Flow
from lamina._flows.points import number_of
from lamina._flows.session import Session
from lamina._live.pins import Pins, pinnable
from lamina._live.state import LiveState
from lamina._live.tracking import HeadTracker, Made
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._runtime.copies import Uncopyable
from lamina._runtime.log import log
from lamina._wire.messages import version_changes_of
from lamina.errors import LaminaError
from lamina.records import VersionChanges

OnChange = TypeVar("OnChange", bound=Callable[[VersionChanges], Any])


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


class LiveView(Uncopyable):
    """What both kinds of a live show, without a lock and without a call."""

    __slots__ = ("__weakref__", "_pins", "_tracking")

    _instead = "live.current is a Snapshot, which does"
    _pins: Pins
    _tracking: HeadTracker

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
        try:
            if self._pins.in_use:
                return self._shown().value(key)
            # All in one frame. Where `_tracked` has to be asked, as in a forked child, nothing was read.
            cache = self._tracking.entries.read_cache
            return cache[key] if key in cache else self._tracked().entries.value(key)
        except KeyError:
            raise KeyError(key) from None  # a traceback that ends here

    def __contains__(self, key: object) -> bool:
        if self._pins.in_use:
            return key in self._shown()
        return key in self._tracking.entries.read_cache or key in self._tracked().entries

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a mapping that moves cannot be read whole: iterate over live.current")

    def __repr__(self) -> str:
        tracking = self._tracking
        return f"<{type(self).__name__} {tracking.entries.header.config!r} version {self.version}, {self.state}>"

    def _tracked(self) -> HeadTracker:
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


def reached(tracking: HeadTracker, version: SupportsIndex) -> bool:
    """Tell whether a version was reached; raise what has ended the tracking. InvalidError for another config's."""
    if tracking.entries.header.number >= number_of(version, tracking.entries.header.config):
        return True
    if tracking.failure is not None:
        raise tracking.failure
    return False
