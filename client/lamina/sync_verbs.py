"""The verbs that look at a config's past and its future, for threads, for whoever stands at one of its versions."""

from collections.abc import Iterable, Iterator

from lamina import flows
from lamina.draft import Snapshot
from lamina.entries import Entries
from lamina.records import Change, KeyChange, Version
from lamina.sync_shell import Shell
from lamina.sync_watch import Watch
from lamina.watching import After, Following


class Reader:
    """What a Config and a Live have in common. `_shell` runs it, `_base` is where it stands."""

    __slots__ = ()

    _shell: Shell

    def _base(self) -> Entries:
        raise NotImplementedError

    def at(self, point: flows.Point) -> Snapshot:
        """Read the whole map as it was at a version, or at a time: a datetime with a zone, else InvalidError.

        NotFoundError for a version that there is not. Version 0 is the empty map before the first.
        """
        return Snapshot(self._shell.run(flows.at(self._shell.session, self._base(), point)))

    def diff(self, old: flows.Point, new: flows.Point | None = None) -> dict[str, Change]:
        """Compare two versions or times, in either direction; without a second one, up to the head.

        By key, in order: `{"x": Change(old=27, new=28)}`, with MISSING where there is no value.
        """
        return self._shell.run(flows.diff(self._shell.session, self._name(), old, new))

    def log(self, *, limit: int | None = None) -> Iterator[Version]:
        """List the versions, newest first, reading page by page."""
        return self._shell.iterate(flows.log(self._shell.session, self._name(), limit))

    def history(self, key: str, *, newest_first: bool = False, limit: int | None = None) -> Iterator[KeyChange]:
        """List every change of one key, in version order, reading page by page."""
        listing = flows.history(self._shell.session, self._name(), key, limit, newest_first=newest_first)
        return self._shell.iterate(listing)

    def blame(self, *keys: str) -> dict[str, Version]:
        """Tell which version set each key's committed value; without keys, of all. KeyError for a missing one."""
        return self._shell.run(flows.blame(self._shell.session, self._base(), keys))

    def watch(
        self, *keys: str, prefix: str | Iterable[str] = (), after: After = None, timeout: float | None = None
    ) -> Watch:
        """Follow every change of these keys, of keys with a prefix, or without either of the whole config.

        Begins after `version`, unless `after` names another version, time or cursor. `timeout` seconds of silence end
        the loop. This config itself stands still: `refresh` moves it.
        """
        prefixes = [prefix] if isinstance(prefix, str) else list(prefix)
        following = Following(self._shell.session, self._base().header, keys, filter(None, prefixes), after)
        return Watch(self._shell, following, timeout)

    def _name(self) -> str:
        return self._base().header.config
