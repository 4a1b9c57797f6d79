"""What the verbs return: frozen records of versions, changes and conflicts, with Python's types."""

import copyreg
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal, Self, TypeAlias

from lamina._runtime.public import public


class _Missing(Enum):
    """The type of MISSING: an enum, so that type checkers narrow by `is lamina.MISSING`."""

    __module__ = "lamina"  # where `pickle` finds it

    MISSING = "MISSING"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "lamina.MISSING"


MISSING: Final = _Missing.MISSING
"""Stands for no value: the key does not exist, in contrast to a key with the value None. Falsy."""

copyreg.pickle(_Missing, lambda missing: missing.name)  # copies and pickles are `lamina.MISSING` itself


class _Compacted(Enum):
    """The type of COMPACTED: an enum, so that type checkers narrow by `is lamina.COMPACTED`."""

    __module__ = "lamina"  # where `pickle` finds it

    COMPACTED = "COMPACTED"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "lamina.COMPACTED"


COMPACTED: Final = _Compacted.COMPACTED
"""Stands for a value in a key's history that is no longer kept, because the config was compacted. Falsy."""

copyreg.pickle(_Compacted, lambda compacted: compacted.name)

Missing: TypeAlias = Literal[_Missing.MISSING]


@public("lamina")
@dataclass(frozen=True, slots=True)
class Version:
    """The header of one version of a config. Accepted wherever a version's number is.

    Version 0, and the answer to `commit(dry_run=True)`, have the number 0, an empty `hash` and the epoch as their
    `time`. Times here and in the other records are in UTC, by the clock of the server that committed the version. Those
    of one config always rise.
    """

    number: int
    config: str
    parent: int
    author: str
    message: str
    time: datetime
    hash: str
    """SHA-256 in hexadecimal; two versions with equal hashes have equal pasts."""
    author_verified: bool = field(default=False, repr=False)
    """Whether the server authenticated the author."""
    key_count: int = field(default=0, repr=False)
    change_count: int = field(default=0, repr=False)
    changed_keys: tuple[str, ...] = field(default=(), repr=False)
    """The first 100 keys that this version changed."""
    source_config: str | None = field(default=None, repr=False)
    """The source of a fork, on the fork's version 1."""
    source_version: int | None = field(default=None, repr=False)
    compacted: bool = field(default=False, repr=False, compare=False)
    """In a log: whether the values of this version are no longer kept, so that it cannot be read."""

    def __index__(self) -> int:
        return self.number


def unwritten(config: str) -> Version:
    """Make the header of version 0, the empty map before the first commit."""
    epoch = datetime.fromtimestamp(0, UTC)
    return Version(number=0, config=config, parent=0, author="", message="", time=epoch, hash="")


class _Values:
    """A record of values. A pickle of it has secrets without their contents, as that of a Snapshot has."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self  # nothing can change it, and a pickle would lose the contents of secrets

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        values = (getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]  # all are dataclasses
        return type(self), tuple(getattr(value, "_without_content", value) for value in values)


@public("lamina")
@dataclass(frozen=True, slots=True)
class Change(_Values):
    """One key's value before and after; MISSING if there is none."""

    old: Any
    new: Any


@public("lamina")
@dataclass(frozen=True, slots=True)
class KeyChange(_Values):
    """One key set to a value, or deleted (`value` is then MISSING), by one version.

    In a history, the value may be no longer kept, because the config was compacted. Then `compacted` is true, `value`
    is lamina.COMPACTED, and `digest` is the value's digest, in hexadecimal.
    """

    key: str
    value: Any
    deleted: bool
    version: int
    author: str
    message: str
    time: datetime
    compacted: bool = field(default=False, repr=False)
    digest: str = field(default="", repr=False)


@public("lamina")
@dataclass(frozen=True, slots=True)
class VersionChanges:
    """The changes of one version that match a watch's filter, in key order."""

    version: int
    changes: tuple[KeyChange, ...]
    author: str
    message: str
    time: datetime
    hash: str


@public("lamina")
@dataclass(frozen=True, slots=True)
class Conflict(_Values):
    """One key that others changed. `base` is its value before, `theirs` now, `yours` the one you wanted; or MISSING.

    `version` is the number of the version that set or deleted `theirs`, and `author` committed it.
    """

    key: str
    base: Any
    theirs: Any
    yours: Any
    version: int
    author: str


@public("lamina")
@dataclass(frozen=True, slots=True)
class ConfigInfo:
    """One listed config: its head's number, and when that was committed."""

    name: str
    head: int
    time: datetime
    created: datetime
    """When version 1 was committed."""
    oldest: int = field(default=1, repr=False)
    """The oldest version that can be read: 1 unless the config was compacted."""


@public("lamina")
@dataclass(frozen=True, slots=True)
class Grant:
    """One grant of the config `_lamina/access`: a subject has a role on the configs of a pattern."""

    subject: str
    """A principal, such as "token:deployer", or a group, such as "group:platform"."""
    role: str
    """"reader", "writer" or "admin". Each includes the ones before it."""
    pattern: str
    """A config's name, in which "*" stands for any text within a segment, and "**" for any text."""
    reveal: bool = False
    """Whether secrets may be revealed."""


@public("lamina")
@dataclass(frozen=True, slots=True)
class WhoAmI:
    """Who this client is for the server, and the grants that it has."""

    principal: str
    """Such as "token:deployer"; empty on an open server."""
    groups: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    open: bool = False
    """Whether the server is open: then everybody may do everything."""


@public("lamina")
@dataclass(frozen=True, slots=True)
class AccessCheck:
    """What a principal may do with a config, and by which grants."""

    role: str | None
    """The highest role; None if there is none."""
    reveal: bool = False
    grants: tuple[Grant, ...] = ()


@public("lamina")
@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server that answered: its release, and the author of this client's writes there."""

    version: str
    author: str
    author_verified: bool
    """Whether the server authenticated the author."""
    not_ready: str = ""
    """Why the server takes no commits at present; empty if it takes them."""
