"""A config out of a bundle into a database, with its versions, authors, times and hashes. Knows no database.

All new versions are written in one transaction, which holds the write lock as a commit does. So a reader sees all of
them or none, and a file that turns out to be broken at its end leaves nothing. Worked example, a bundle of 5 versions:

    the database has          is done
    no such config            versions 1 to 5 are written
    versions 1 to 3 of it     4 and 5 are written, on top
    versions 1 to 7 of it     nothing: it has them all
    another version 3         nothing: RestoreRefusedError

The hash of version 3 tells whether it is the same: it covers all versions before it.

Of `_lamina/access` the last map must be an access, and must leave an admin if the database has one. Its older maps need
not, because a reset (see access/reset.py) may have mended them.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from lamina_protos import bundle
from lamina_server.commits.clock import wall_us
from lamina_server.commits.keyframes import KEYFRAME_VALUES_MINIMUM
from lamina_server.domain import access_checks
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import InvalidError
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import Change, Version
from lamina_server.domain.values import Value
from lamina_server.restore.replay import Advance, Replay
from lamina_server.restore.secret_keys import add
from lamina_server.secrets.outer import outer_key
from lamina_server.settings import Settings
from lamina_server.store.contract import Reading
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sql.writing import SqlWriting

VERSIONS_AT_ONCE = 1_000
BYTES_AT_ONCE = 8 * 1024 * 1024
"""When so many versions, or values of so many bytes, are waiting, they are inserted."""


class RestoreRefusedError(Exception):
    """The database already has a config of that name, with a different history; or would have no access to it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The result: `head` is the bundle's last version, and `added` the number of versions that were written."""

    head: Version
    added: int


def restore(file: bundle.Readable, settings: Settings, advance: Advance) -> Restored:
    """Write those versions of a bundle that the settings' database lacks.

    Raises BrokenBundleError, RestoreRefusedError, SecretKeysRefusedError, UnusableStoreError or OuterKeyError, and then
    nothing was written.
    """
    outer = outer_key(settings.secret_key_file, settings.secret_key_command, settings.secret_key_command_seconds)
    replay = Replay(settings)
    plans = replay.plans(file, advance)
    first = next(plans, None)  # first, because opening the database creates it: a broken file must not
    assert first is not None, "a file that ends without a version is broken"
    with closing(open_store(settings.database)) as store:
        return _restore(store, plans, first, lambda writing: add(writing, replay.secret_keys, replay.numbers, outer))


def _restore(
    store: SqlStore, plans: Iterator[Plan], first: Plan, add_secret_keys: Callable[[SqlWriting], object]
) -> Restored:
    # The versions that are there already are compared before the lock is taken, so that no server waits meanwhile.
    with store.read() as reading:
        last, is_there = _pass(plans, first, reading.head(first.version.config))
        if is_there:
            _check_same(reading, last.version)
            return Restored(last.version, added=0)
    with store.write() as writing:
        restored = _write(writing, plans, last, writing.head(last.version.config))
        if restored.added:
            add_secret_keys(writing)  # last, because they are at the end of the file
        return restored


def _pass(plans: Iterator[Plan], last: Plan, head: Version | None) -> tuple[Plan, bool]:
    """Return the first version after a head, and False; if the bundle has none, its last version, and True."""
    while head is not None and last.version.number <= head.number:
        if last.version.number == head.number and last.version.hash != head.hash:
            raise _refused(head)
        following = next(plans, None)
        if following is None:
            return last, True
        last = following
    return last, False


def _check_same(reading: Reading, version: Version) -> None:
    there = reading.versions(version.config, [version.number])
    if version.number not in there or there[version.number].hash != version.hash:
        raise _refused(version)


def _write(writing: SqlWriting, plans: Iterator[Plan], first: Plan, head: Version | None) -> Restored:
    first, is_there = _pass(plans, first, head)  # another server may have committed before the lock was taken
    if is_there:
        _check_same(writing, first.version)
        return Restored(first.version, added=0)
    before = _access_values(writing, head)
    inserting = _Inserting(writing, first.version.config)
    inserting.add(first)
    version = first.version
    for planned in plans:
        inserting.add(planned)
        version = planned.version
    _check_access(before, _access_values(writing, version))
    return Restored(version, inserting.added)


def _access_values(writing: SqlWriting, version: Version | None) -> dict[str, Value]:
    """Return the map of a version of `_lamina/access`; of any other config, an empty one."""
    if version is None or version.config != ACCESS_CONFIG:
        return {}
    return {entry.key: entry.value for entry in writing.entries(ACCESS_CONFIG, version.number)}


def _check_access(before: dict[str, Value], after: dict[str, Value]) -> None:
    changes = (Change(key, after.get(key)) for key in before.keys() | after.keys())
    try:
        access_checks.check_whole(before, changes, wall_us())
    except InvalidError as error:
        raise RestoreRefusedError(f"{ACCESS_CONFIG} would not be usable: {error}; nothing was written") from error


class _Inserting:
    """Inserts versions, several at a time, and keyframes as often as the server would write them."""

    def __init__(self, writing: SqlWriting, config: str) -> None:
        self.added = 0
        self._writing = writing
        self._config = config
        self._since_keyframe = writing.originated_since_keyframe(config)
        self._versions = self._bytes = 0

    def add(self, planned: Plan) -> None:
        """Insert a version: now, or together with later ones."""
        self._writing.insert(planned)
        self.added += 1
        self._versions += 1
        self._bytes += sum(0 if each.value is None else each.value.size_bytes for each in planned.values)
        self._since_keyframe += len(planned.values)
        is_due = self._since_keyframe >= max(planned.version.key_count, KEYFRAME_VALUES_MINIMUM)
        if self._versions < VERSIONS_AT_ONCE and self._bytes < BYTES_AT_ONCE and not is_due:
            return
        self._writing.flush()
        self._versions = self._bytes = 0
        if is_due:
            self._writing.write_keyframe(self._config)
            self._since_keyframe = 0


def _refused(version: Version) -> RestoreRefusedError:
    text = f"there is a config {version.config!r} already, and its version {version.number} is another one"
    return RestoreRefusedError(f"{text}: nothing was written")
