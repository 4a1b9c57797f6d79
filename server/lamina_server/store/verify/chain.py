"""One config's versions held against each other, in order: what makes them one intact history. Runs no statement.

Of a config that was compacted, some changes before the cut are digests without a value. They are hashed all the same.
From the cut on, each key of the map must have its value.

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

_COMPACTED = (0, 0)
"""Stands for the size and the id of a value that compaction has taken away."""


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
        self._live: dict[str, tuple[int, int]] = {}  # by key: size in bytes, and the id of the value; _COMPACTED
        self._size_bytes = 0
        self._compacted = 0  # how many of these have no value any more

    @property
    def number(self) -> int:
        """The last version that was found intact."""
        return self._parent.number if self._parent else 0

    def add(self, row: Any, values: Iterable[Any], *, oldest: int = 1) -> None:
        """Check the next version, given as rows of the version and of its changes in order of their names.

        A change is the row of a value, or of a change point. `oldest` is the first version whose map must be there.

        Raises BrokenError where they do not continue what there is.
        """
        self._check_number(row)
        digests = [self._add_value(row, value) for value in values]
        version = version_of(row, self._config)
        self._check_counts(version, len(digests), is_whole=version.number >= oldest)
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
        if not hasattr(value, "id"):
            self._replace(key, None if value.deleted else _COMPACTED)
            left: bytes = value.digest
            return left
        try:
            data = checked_value_of(value, self._config)
        except HashMismatchError as error:
            raise BrokenError(row.version, str(error)) from None
        if value.originating_config_id != row.id:
            raise BrokenError(row.version, f"has a value of {key!r} that originates in another version's row")
        self._replace(key, None if data is None else (entry_size(key, data), value.id))
        digest: bytes = value.digest
        return digest

    def _replace(self, key: str, entry: tuple[int, int] | None) -> None:
        old = self._live.pop(key, None)
        self._compacted += (entry is _COMPACTED) - (old is _COMPACTED)
        self._size_bytes += (entry[0] if entry else 0) - (old[0] if old else 0)
        if entry is not None:
            self._live[key] = entry

    def _check_counts(self, version: Version, changes: int, *, is_whole: bool) -> None:
        if is_whole and self._compacted:
            raise BrokenError(version.number, f"lacks the values of {self._compacted} of its keys")
        size_bytes = version.size_bytes if self._compacted else self._size_bytes
        recorded = (version.change_count, version.key_count, version.size_bytes)
        counted = (changes, len(self._live), size_bytes)
        if recorded != counted:
            texts = ["{} changes, {} keys and {} bytes".format(*counts) for counts in (recorded, counted)]
            raise BrokenError(version.number, f"tells of {texts[0]}, and has {texts[1]}")
