"""A cache that is bounded in bytes."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteBudget(Generic[K, V]):
    """Values by key, up to `limit_bytes` together. The value that was used least recently goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._sizes: dict[K, int] = {}

    @property
    def held_bytes(self) -> int:
        """Return the size of all values that are held."""
        return self._held_bytes

    @property
    def held_values(self) -> int:
        """Return how many values are held."""
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def get(self, key: K) -> V | None:
        """Return a value, which counts as used; None where it is not held."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Hold a value in place of what was under the key; not if it is larger than all that may be held."""
        if size_bytes > self._limit_bytes:
            if key in self._values:
                self.drop(key)
            return
        self._values[key] = value
        self._values.move_to_end(key)
        self._held_bytes += size_bytes - self._sizes.get(key, 0)
        self._sizes[key] = size_bytes
        while self._held_bytes > self._limit_bytes:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Hold a value no longer."""
        del self._values[key]
        self._held_bytes -= self._sizes.pop(key)
