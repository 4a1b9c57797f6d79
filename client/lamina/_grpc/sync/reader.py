"""The verbs that look at a config's past and its future, for threads. A Config and a Live have them."""

from collections.abc import Iterable, Iterator
from typing import SupportsIndex

from lamina._flows import reads
from lamina._flows.points import Point
from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.watch import Watch
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._streams.cursor import After
from lamina._streams.queue import WatchQueue, listed
from lamina.records import Change, KeyChange, Version


class Reader:
    """What a Config and a Live have in common. `_shell` runs its flows, `_base` is the version that it stands on."""

    __slots__ = ()

    _shell: Shell

    def _base(self) -> Entries:
        raise NotImplementedError

    def at(self, point: Point) -> Snapshot:
        """Read the whole map as it was at a version, or at a time: a datetime with a zone, else InvalidError.

        NotFoundError for a version that does not exist, and for a time before the first one. The number 0 is the empty
        map before the first version.
        """
        return Snapshot(self._shell.run(reads.at(self._shell.session, self._base(), point)))

    def diff(self, old: Point, new: Point | None = None) -> dict[str, Change]:
        """Compare two versions or times, in either direction; without a second one, up to the head.

        By key, in order: `{"x": Change(old=27, new=28)}`, with MISSING where there is no value. Errors as in `at`.
        """
        return self._shell.run(reads.diff(self._shell.session, self._name(), old, new))

    def log(self, *, limit: int | None = None, before: SupportsIndex | None = None) -> Iterator[Version]:
        """List the versions, newest first, reading page by page; with `before`, those older than that version."""
        return self._shell.iterate(reads.log(self._shell.session, self._name(), limit, before))

    def history(self, key: str, *, newest_first: bool = False, limit: int | None = None) -> Iterator[KeyChange]:
        """List every change of one key, in version order, reading page by page."""
        listing = reads.history(self._shell.session, self._name(), key, limit, newest_first=newest_first)
        return self._shell.iterate(listing)

    def blame(self, *keys: str) -> dict[str, Version]:
        """Return the version that set each key's committed value; without keys, of all. KeyError for a missing one."""
        return self._shell.run(reads.blame(self._shell.session, self._base(), keys))

    def watch(
        self, *keys: str, prefix: str | Iterable[str] = (), after: After = None, timeout: float | None = None
    ) -> Watch:
        """Follow every change of these keys, of keys with a prefix, or without either of the whole config.

        Begins after `version`, unless `after` names another version, time or cursor; after a time before version 1 it
        tells everything. `timeout` seconds without a change that arrives end the loop.
        This config itself stands still: `refresh` moves it.
        """
        queue = WatchQueue(self._shell.session, self._base().header, keys, listed(prefix), after)
        return Watch(self._shell, queue, timeout)

    def _name(self) -> str:
        return self._base().header.config
