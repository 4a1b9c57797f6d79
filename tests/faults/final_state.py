"""The final state of a config, as plain data for the checker. Knows no server and no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinalVersion:
    """One version: its commit's request id (which is the version's message), and its changes; None: deleted."""

    number: int
    parent: int
    hash: str
    request: str
    changes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Final:
    """All versions of the config in the order of their numbers, from one place.

    source    where it was read
    requests  request id -> the version that answers it; None if the place does not show it
    """

    source: str
    versions: Sequence[FinalVersion]
    requests: Mapping[str, int] | None = None
