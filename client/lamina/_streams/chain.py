"""One config's versions, compared with each other in order, from the wire or a bundle; pure.

Worked example: version 1 sets x and y, version 2 sets x, version 3 deletes y. After 1, the digests of {x, y} are kept;
after 2, x has a new one; after 3, only that of x is left. Each version's hash is made from its parent's hash and its
own digests, and the key counts are 2, 2 and 1.
"""

from collections.abc import Mapping
from typing import Final

from lamina._wire.hashing import NO_PARENT, change_digest, version_hash
from lamina.errors import DataLossError
from lamina_protos.v1 import lamina_pb2 as pb

CHANGED_KEYS: Final = 100
"""The number of changed keys that a header names, by the wire contract."""


class Chain:
    """The intact versions so far, and the newest digest of each key in their map."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._header: pb.ConfigVersion | None = None
        self._live: dict[str, bytes] = {}
        self._digests: list[tuple[str, bytes | None]] = []  # of the current version, by key; None is a deletion
        self._hashed: list[bytes] = []

    def begin_at(self, header: pb.ConfigVersion, live: Mapping[str, bytes]) -> None:
        """Begin at a version that is not proved, with the digest of each key's value in its map."""
        self._header = header
        self._live = dict(live)

    @property
    def header(self) -> pb.ConfigVersion | None:
        """The newest intact version; None before the first."""
        return self._header

    @property
    def number(self) -> int:
        """The number of the newest intact version; 0 before the first."""
        return 0 if self._header is None else self._header.version

    @property
    def live(self) -> Mapping[str, bytes]:
        """The digest of each key's value at that version."""
        return self._live

    @property
    def place(self) -> tuple[int, int]:
        """The position: the newest intact version, and the number of changes of the next one so far."""
        return self.number, len(self._hashed)

    def add(self, part: pb.VersionChanges) -> None:
        """Take a version, or the next part of one; with the last part check that the version is intact.

        Raises DataLossError if it does not continue the chain.
        """
        header = part.version
        if header.version != self.number + 1 or header.config != self._config:
            raise self.broken(self.number + 1, f"was left out: version {header.version} of {header.config} came")
        for change in part.changes:
            digest = change_digest(header, change)
            self._hashed.append(digest)
            self._digests.append((change.key, None if change.deleted else digest))
        if not part.more:
            self._end_version(header)

    def forget_parts(self) -> None:
        """Drop the parts of a version whose stream broke: it arrives again, whole."""
        self._digests, self._hashed = [], []

    def broken(self, number: int, what: str) -> DataLossError:
        """Return the error for a version that is not as it was committed."""
        return DataLossError(f"version {number} of {self._config} {what}", reason="HASH_MISMATCH")

    def _end_version(self, header: pb.ConfigVersion) -> None:
        parent_hash = NO_PARENT if self._header is None else self._header.hash
        made = version_hash(header, parent_hash, self._hashed)
        for key, digest in self._digests:
            if digest is None:
                self._live.pop(key, None)
            else:
                self._live[key] = digest
        if made != header.hash or header.change_count != len(self._hashed):
            raise self.broken(header.version, "does not match its hash")
        names = [key for key, _ in self._digests[:CHANGED_KEYS]]
        if header.parent != header.version - 1 or header.changed_keys != names:
            raise self.broken(header.version, "names another parent, or other keys than those that it changed")
        if header.key_count != len(self._live):
            raise self.broken(header.version, f"says that it has {header.key_count} keys, and has {len(self._live)}")
        self._header = header
        self.forget_parts()
