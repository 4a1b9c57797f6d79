"""Which keys a read or a watch wants, and how a sorted index finds them: one range, and an exact test. Pure.

Worked example. Wanted are the key `db` and the prefixes `app/`, `app/eu/` and `zone/`.
The prefix `app/eu/` lies within `app/` and is dropped. The range runs from `app/` to just
before `zone0` ('0' follows '/'), and of the keys in it the test lets `app/x` and `db`
pass, but not `log`.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

_HIGHEST = "\U0010ffff"
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys are wanted: these, and all with these prefixes. If both are empty, all keys are."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def matches(self, key: str) -> bool:
        """Return whether a key is wanted."""
        everything = not self.keys and not self.prefixes
        return everything or key in self.keys or key.startswith(self.prefixes)


EVERYTHING = KeyFilter()


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys from `low` to just before `high`; None: to the last. `inclusive` says whether `low` is one of them."""

    low: str
    inclusive: bool
    high: str | None


@dataclass(frozen=True)
class Selection:
    """The wanted keys, and the wanted prefixes: sorted, and none begins with another."""

    keys: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, wanted: KeyFilter) -> Self:
        """Return the selection of a filter."""
        everything = not wanted.keys and not wanted.prefixes
        prefixes = ("",) if everything else outermost(wanted.prefixes)
        return cls(frozenset(wanted.keys), prefixes)

    @property
    def is_everything(self) -> bool:
        """Whether all keys are wanted."""
        return self.prefixes == ("",)

    def matches(self, key: str) -> bool:
        """Return whether a key is wanted. Costs one look-up and one bisection, however long the filter is."""
        if key in self.keys:
            return True
        # No prefix begins with another, so only the last one that is not after the key can match.
        found = bisect_right(self.prefixes, key)
        return found > 0 and key.startswith(self.prefixes[found - 1])

    def after(self, after: str) -> KeyRange:
        """Return a range that has all wanted keys after `after`."""
        lowest, beyond = self._bounds
        if lowest > after:
            return KeyRange(lowest, inclusive=True, high=beyond)
        return KeyRange(after, inclusive=False, high=beyond)

    @cached_property
    def _bounds(self) -> tuple[str, str | None]:
        beginnings = [*self.keys, *self.prefixes]
        ends = [successor(beginning) for beginning in beginnings]
        return min(beginnings), None if None in ends else max(end for end in ends if end is not None)


def successor(prefix: str) -> str | None:
    r"""Return the lowest text that is higher than all texts with a prefix; None if there is none.

    >>> successor("app/"), successor("a\U0010ffff"), successor("\ud7ff") == "\ue000"
    ('app0', 'b', True)

    Texts are ordered by code point. Surrogates (U+D800 to U+DFFF) do not occur in them.
    """
    kept = prefix.rstrip(_HIGHEST)
    if not kept:
        return None
    last = kept[-1]
    return kept[:-1] + (_AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1))


def outermost(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes that begin with no other of them, sorted."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)
