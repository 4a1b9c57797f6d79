"""The access that holds now, and the map that it is made of. A LiveAccess lives on the event loop."""

from collections.abc import Callable

from lamina_server.domain import access_map
from lamina_server.domain.access import ACCESS_CONFIG, NO_ACCESS, OPEN, Access, Caller, Rights
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.values import Value
from lamina_server.store.contract import Reading


class LiveAccess:
    """The content of `_lamina/access`, which is swapped as a whole.

    current  what holds now; a reader keeps what it took for as long as one decision
    is_open  whether everybody may do everything
    """

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self.current: Access = NO_ACCESS
        self._listeners: list[Callable[[], None]] = []

    def rights(self, caller: Caller, config: str) -> Rights:
        """Return what a caller may do with a config now."""
        return OPEN if self.is_open else self.current.rights(caller, config)

    def swap(self, access: Access) -> None:
        """Put another access in its place, and call all listeners."""
        self.current = access
        for listener in self._listeners:
            listener()

    def call_on_swap(self, listener: Callable[[], None]) -> None:
        """Call a function, on the event loop, after each swap."""
        self._listeners.append(listener)


def read_map(reading: Reading) -> tuple[HeadMark, dict[str, Value]]:
    """Read the newest version of `_lamina/access`, and its map; NO_VERSION and an empty map if there is none."""
    head = reading.head(ACCESS_CONFIG)
    if head is None:
        return NO_VERSION, {}
    values = {entry.key: entry.value for entry in reading.entries(ACCESS_CONFIG, head.number)}
    return HeadMark(head.number, head.hash), values


def read_access(reading: Reading) -> Access:
    """Read the newest version of `_lamina/access` as an access. Raise InvalidError if it cannot be one."""
    mark, values = read_map(reading)
    return access_map.read(values, mark.number)
