"""The writes that a caller may ask for, as frozen records that were parsed and checked before. Pure.

A command's digest covers its content, and not its caller. It tells a retry from another
request with the same id.
"""

from collections.abc import Iterable
from typing import TypeAlias

from lamina_server.domain.hashing import Field, content_digest
from lamina_server.domain.planning import Author
from lamina_server.domain.record import record
from lamina_server.domain.records import Change

_HEAD = -1  # stands for the head in a digest; no version has this number


@record
class CommitCommand:
    """Change keys of a config, against a base.

    base_version  None: the head; 0: the empty map before version 1
    base_hash     the base's hash; empty: not checked
    changes       at least one, no key twice
    read_keys     keys whose values at the base the changes depend on
    require_base  refuse to merge: the head must be the base
    """

    config: str
    base_version: int | None
    base_hash: bytes
    changes: tuple[Change, ...]
    read_keys: tuple[str, ...]
    message: str
    author: Author
    require_base: bool

    def digest(self) -> bytes:
        """Return the digest of the command's content: 32 bytes."""
        base = _HEAD if self.base_version is None else self.base_version
        fields: list[Field] = ["commit", self.config, base, self.base_hash, self.message, int(self.require_base)]
        fields.append(len(self.changes))
        for change in self.changes:
            fields.extend(_change_fields(change))
        return content_digest(*fields, *self.read_keys)


@record
class RevertCommand:
    """Give a config the map of an older version. The head must be the base."""

    config: str
    to_version: int
    base_version: int
    base_hash: bytes
    message: str
    author: Author

    def digest(self) -> bytes:
        """Return the digest of the command's content: 32 bytes."""
        return content_digest("revert", self.config, self.to_version, self.base_version, self.base_hash, self.message)


@record
class ForkCommand:
    """Make a new config from a version of another one; None is the source's head.

    may_reveal  whether the caller may see the source's secrets: whoever may not could else fork them to where he may
    """

    source: str
    source_version: int | None
    target: str
    message: str
    author: Author
    may_reveal: bool = False

    def digest(self) -> bytes:
        """Return the digest of the command's content: 32 bytes."""
        source_version = _HEAD if self.source_version is None else self.source_version
        return content_digest("fork", self.source, source_version, self.target, self.message)


Command: TypeAlias = CommitCommand | RevertCommand | ForkCommand


def _change_fields(change: Change) -> Iterable[Field]:
    if change.value is None:
        return (change.key, "DELETED", b"")
    return (change.key, change.value.kind.name, change.value.canonical)
