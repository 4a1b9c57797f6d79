"""The three-way merge by value, as the server does it; pure, it knows no server.

Absence is a value. Worked example, base {a: 1, b: 1, c: 1}, yours {a: 2, b: 2, c: 2}, theirs {a: 1, b: 3, c: 2}:
a was changed by you alone and stays changed; b by both, differently: a conflict; c by both alike: nothing is left to
change, unless you read it (as in `config["c"] += 1`), which makes it a conflict too, or an increment would be lost.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from lamina._mapping.values import Stored
from lamina.records import Missing


class Lookup(Protocol):
    """Anything that returns a key's stored value."""

    def stored(self, key: str) -> Stored | Missing:
        """Return the key's value, or MISSING."""
        ...


@dataclass(frozen=True, slots=True)
class Merge:
    """The remaining staged changes over the new head, and the keys in conflict, in order.

    A conflicting key that was changed is among `staged` too, with your value.
    """

    staged: dict[str, Stored | Missing]
    conflicts: tuple[str, ...]


def merge(base: Lookup, head: Lookup, staged: Mapping[str, Stored | Missing], read: AbstractSet[str]) -> Merge:
    """Move changes staged over `base` to `head`. Keys in `read` must not have changed in between."""
    left = {key: yours for key, yours in staged.items() if yours != head.stored(key)}
    candidates = left.keys() | read
    conflicts = tuple(key for key in sorted(candidates) if head.stored(key) != base.stored(key))
    return Merge(left, conflicts)
