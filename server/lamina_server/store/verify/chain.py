"""One config's versions held against each other, in order: what makes them one intact history. Runs no statement.

Worked example, the config of models/tables.py: version 1 brings the values of x and y, and must tell of 2 keys and 2
changes; version 2 one value of x, 2 keys, 1 change; version 3 the tombstone of y, 1 key, 1 change. Each hash is made
of the last one and of these values' digests, which are made of their rows. Held of it all are x, its size, and the id
of its newest value.
"""

from collections.abc import Iterable
from typing import Any

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.hashing import NO_PARENT, version_hash
from lamina_server.domain.planning import entry_size
from lamina_server.domain.records import Version
from lamina_server.models.rows import checked_value_of, version_of


class BrokenError(Exception):
    """A version is not as it was committed. The text says how, without a value."""

    def __init__(self, version: int, what: str) -> None:
        super().__init__(what)
        self.version = version


class Chain:
    """The versions of one config that were found intact so far, and the map that they make."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._parent: Version | None = None
        self._live: dict[str, tuple[int, int]] = {}  # by key: size in bytes, and the id of the value
        self._size_bytes = 0

    @property
    def number(self) -> int:
        """The last version that was found intact."""
        return self._parent.number if self._parent else 0

    def add(self, row: Any, values: Iterable[Any]) -> None:
        """Check the next version, given as rows of the version and of its values in order of their names.

        Raises BrokenError where they do not continue what there is.
        """
        self._check_number(row)
        digests = [self._add_value(row, value) for value in values]
        version = version_of(row, self._config)
        self._check_counts(version, len(digests))
        parent = self._parent
        if parent is not None and version.commit_time_us <= parent.commit_time_us:
            raise BrokenError(version.number, "was not committed after its parent")
        made = version_hash(
            parent_hash=parent.hash if parent else NO_PARENT,
            config=self._config,
            number=version.number,
            author=version.author,
            author_verified=version.author_verified,
            message=version.message,
            commit_time_us=version.commit_time_us,
            key_count=version.key_count,
            source=version.source,
            digests=digests,
        )
        if made != version.hash:
            raise BrokenError(version.number, "does not match its hash")
        self._parent = version

    def is_keyframe(self, ids: Iterable[int]) -> bool:
        """Return whether values, by their ids, are the whole map of the last version."""
        lines = list(ids)
        return len(lines) == len(self._live) and set(lines) == {id_ for _, id_ in self._live.values()}

    @property
    def key_count(self) -> int:
        """How many keys the last version has."""
        return len(self._live)

    def _check_number(self, row: Any) -> None:
        expected = self.number + 1
        if row.version > expected:
            raise BrokenError(expected, "is missing")
        if row.version < expected:
            raise BrokenError(row.version, f"does not follow version {self.number}")

    def _add_value(self, row: Any, value: Any) -> bytes:
        key: str = value.name
        try:
            data = checked_value_of(value, self._config)
        except HashMismatchError as error:
            raise BrokenError(row.version, str(error)) from None
        if value.originating_config_id != row.id:
            raise BrokenError(row.version, f"has a value of {key!r} that originates in another version's row")
        size = entry_size(key, data)
        self._size_bytes += size - self._live.pop(key, (0, 0))[0]
        if data is not None:
            self._live[key] = (size, value.id)
        digest: bytes = value.digest
        return digest

    def _check_counts(self, version: Version, changes: int) -> None:
        recorded = (version.change_count, version.key_count, version.size_bytes)
        counted = (changes, len(self._live), self._size_bytes)
        if recorded != counted:
            texts = ["{} changes, {} keys and {} bytes".format(*counts) for counts in (recorded, counted)]
            raise BrokenError(version.number, f"tells of {texts[0]}, and has {texts[1]}")
