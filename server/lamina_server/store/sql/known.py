"""What a store knows of its tables because nobody else writes to them, so that a writing block need not ask."""

from dataclasses import dataclass, field
from typing import NamedTuple

CONFIGS_LIMIT = 10_000
"""Heads that are remembered. Above this, all are forgotten, and asked for again."""


class HeadRow(NamedTuple):
    """A config's id, its head's number and hash, and the oldest version whose map can be read."""

    id: int
    number: int
    hash: bytes
    oldest: int = 1


@dataclass(slots=True)
class KnownRows:
    """What the last writing blocks have found and left.

    heads     of configs
    last_ids  the highest id in a table
    """

    heads: dict[str, HeadRow] = field(default_factory=dict)
    last_ids: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget all: a block has failed, and with it what it had added here."""
        self.heads.clear()
        self.last_ids.clear()

    def bound(self) -> None:
        """Keep the memory bounded."""
        if len(self.heads) > CONFIGS_LIMIT:
            self.heads.clear()
