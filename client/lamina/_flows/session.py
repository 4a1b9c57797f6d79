"""The versions that a client has seen, shared by all its verbs."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakValueDictionary

from lamina._mapping.entries import Entries
from lamina._mapping.secret import Absence, Source
from lamina._runtime.forking import ForkSafeLock
from lamina.errors import CursorError
from lamina.records import Version

Landed: TypeAlias = WeakValueDictionary[tuple[str, int], Entries]


class Horizon:
    """The newest version of each config that this client has seen anywhere. Shared by threads.

    Head reads demand at least that version, so that one client never goes back, on any server.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._seen: dict[str, tuple[int, str]] = {}

    def least(self, config: str) -> int:
        """Return the least version that a head read of the config must show."""
        return self._seen.get(config, (0, ""))[0]

    def saw(self, version: Version) -> None:
        """Remember a version; raise CursorError if it is another one than this client saw under that number."""
        with self._lock:
            number, known = self._seen.get(version.config, (0, ""))
            if version.number > number:
                self._seen[version.config] = version.number, version.hash
        if version.number == number and version.hash != known:
            raise forked(version.config, number, known, version.number)


def forked(config: str, number: int, known: str, head: int) -> CursorError:
    """Make the error for a server whose version of a number is not the one that this client has seen."""
    text = f"version {number} of {config} is another one than this client has seen: was a backup restored?"
    return CursorError(text, reason="CURSOR_FORKED", cursor=f"{number}.{known}", head=head)


@dataclass(frozen=True, slots=True)
class Session:
    """The state that all verbs of one client share. Tests pass their own clock and random numbers.

    servers         how many addresses there are: a failed try leads to the next one
    absence         why the contents of some secrets are not sent
    landed          by config and number, the entries that commits have led to, while a draft stands on them
    has_credential  whether the client sends a token or a certificate
    renews_token    whether another call may have another token
    """

    timeout_seconds: float
    horizon: Horizon = field(default_factory=Horizon)
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    new_request_id: Callable[[], str] = lambda: os.urandom(16).hex()  # as unique as a UUID, without its module
    servers: int = 1
    absence: Absence = Absence.NOT_REVEALED
    landed: Landed = field(default_factory=WeakValueDictionary[tuple[str, int], Entries])
    has_credential: bool = False
    renews_token: bool = False

    def source(self, config: str) -> Source:
        """Return the source of secrets that are read from a config."""
        return Source(config, self.absence)
