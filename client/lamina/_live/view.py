"""The reading side of a live, for both clients."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from lamina._flows.effects import Flow
from lamina._flows.session import Session
from lamina._live.pins import Pins, pinnable
from lamina._live.state import LiveState
from lamina._live.tracking import HeadTracker
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._runtime.copies import Uncopyable
from lamina.errors import LaminaError
from lamina.records import VersionChanges

OnChange = TypeVar("OnChange", bound=Callable[[VersionChanges], Any])


class LiveView(Uncopyable):
    """What both kinds of live show, without a lock and without a call."""

    __slots__ = ("__weakref__", "_pins", "_tracker")

    _instead = "live.current is a Snapshot, which does"
    _pins: Pins
    _tracker: HeadTracker

    @property
    def name(self) -> str:
        """The config's name."""
        return self._head().entries.header.config

    @property
    def current(self) -> Snapshot:
        """One whole version: several keys that are read from it belong together."""
        return Snapshot(self._shown())

    @property
    def version(self) -> int:
        """The number of the version that it shows."""
        return self._shown().header.number

    @property
    def state(self) -> LiveState:
        """LIVE while its stream is open, STALE when it is lost, OFFLINE before there was one; equal to these names."""
        return self._head().state

    @property
    def age(self) -> float:
        """Seconds since a server last said that this version is the head; infinity for a default.

        A quiet config is confirmed every 30 s; in between a lost link is noticed by `state`, within 15 s if the server
        fell silent, and at once if the connection was closed.
        """
        return self._head().age

    @property
    def error(self) -> LaminaError | None:
        """Why it does not follow; None while nothing keeps it from that.

        The definite error that has ended it, such as a CursorError after a backup was restored; or the refusal that
        makes it STALE at present: an UnauthenticatedError until its token is renewed, a PermissionDeniedError until it
        may read the config again. A CursorError whose `head` is 0 is such a refusal too, because a config that may not
        be read looks as if it did not exist.
        """
        head = self._head()
        return head.failure or head.refusal

    def get(self, key: str, default: Any = None) -> Any:
        """Return a key's value, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def pin(self, snapshot: Snapshot | None = None) -> AbstractContextManager[Snapshot]:
        """Show one version for the length of a `with` block: the newest, or the one that `at` or `carried` returned.

        The pin holds in the thread or asyncio task that runs the block, and in tasks that are begun in it, for every
        live of this config in this client; all others see the head. Pins nest. `state`, `age`, `error`,
        `wait` and `on_change` are about the head, always. It is a plain `with` in `lamina.aio` as well: no server is
        asked.
        """
        if snapshot is None:
            return self._pins.hold(self._to_pin)
        entries = pinnable(snapshot, self.name)
        return self._pins.hold(lambda: entries)

    def origin(self, key: str) -> int:
        """Return the number of the version that set the key's value; KeyError if there is no such key."""
        return self._shown().origin(key)

    def __getitem__(self, key: str) -> Any:
        try:
            if self._pins.in_use:
                return self._shown().value(key)
            # All in one frame: a call is slow. The read cache is empty if `_head` must run, as in a forked child.
            cache = self._tracker.entries.read_cache
            return cache[key] if key in cache else self._head().entries.value(key)
        except KeyError:
            raise KeyError(key) from None  # so that the traceback ends here

    def __contains__(self, key: object) -> bool:
        if self._pins.in_use:
            return key in self._shown()
        return key in self._tracker.entries.read_cache or key in self._head().entries

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a mapping that moves cannot be read whole: iterate over live.current")

    def __repr__(self) -> str:
        tracker = self._tracker
        return f"<{type(self).__name__} {tracker.entries.header.config!r} version {self.version}, {self.state}>"

    def _head(self) -> HeadTracker:
        """Return the tracker. Here, the client for threads notices that the process was forked."""
        return self._tracker

    def _shown(self) -> Entries:
        """Return the entries to show: the pin of the running thread or task, else the newest version."""
        if self._pins.in_use and (held := self._pins.held()) is not None:
            return held
        return self._head().entries

    def _to_pin(self) -> Entries:
        held = self._pins.held()
        if held is None:
            held = self._head().entries
            self._pins.keep(held)
        return held

    def _carried(self, session: Session, versions: Mapping[str, int]) -> Flow[Entries]:
        if not isinstance(versions, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - for who has no checker
            raise TypeError(f"carried takes a mapping of configs to versions, not {type(versions).__name__}")
        is_linked = self.state is LiveState.LIVE
        return self._pins.carried(session, self._shown(), versions.get(self.name), is_linked=is_linked)

    def _base(self) -> Entries:
        return self._shown()
