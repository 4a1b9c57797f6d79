"""Whether the database is known to be silent. Then no call waits for it: each is refused at once.

A database that refuses is not silent: its errors come by themselves. One that is frozen, or behind a network that
drops packets, says neither yes nor no. Each call would wait until its deadline, and its caller would learn nothing.
Knows no database: rpc/readiness.py asks it, and says when a silence begins and ends.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from lamina_server.domain.errors import Reason, UnavailableError

T = TypeVar("T")


class SilentError(UnavailableError):
    """The database says nothing at all. `words` are what callers are told of it."""

    def __init__(self, words: str, outcome: str = "", *, wrote_nothing: bool = False) -> None:
        super().__init__(
            Reason.STORE_UNAVAILABLE, f"the server is up, but {words}{outcome}", wrote_nothing=wrote_nothing
        )

    @classmethod
    def of_commit(cls, words: str, *, has_begun: bool) -> "SilentError":
        """Return the error of a commit, which may be written later if a transaction has begun."""
        if has_begun:
            return cls(words, "; the commit has begun, and may be written")
        return cls(words, "; nothing was written", wrote_nothing=True)


class Silence:
    """Ends what waits for a silent database, and refuses the rest. Lives on the event loop, but for `answered`.

    is_on        whether the database is silent
    answered_at  when it has last answered a read or a ping, in seconds of time.monotonic()
    """

    def __init__(self) -> None:
        self.is_on = False
        self.answered_at = float("-inf")
        self._since = 0.0
        self._limits: set[asyncio.Timeout] = set()
        self._on_begin: list[Callable[[], None]] = []

    @property
    def words(self) -> str:
        """Return what a caller may know of the silence."""
        return f"its database has not answered for {time.monotonic() - self._since:.0f} s"

    def call_at_begin(self, function: Callable[[], None]) -> None:
        """Call a function each time that a silence begins."""
        self._on_begin.append(function)

    def begin(self, since: float) -> None:
        """Refuse everything until `end`; `since` is the time from which on the database has not answered."""
        if self.is_on:
            return
        self.is_on, self._since = True, since
        limits, self._limits = self._limits, set()
        for limit in limits:
            limit.reschedule(0)  # long ago, so it ends now
        for function in self._on_begin:
            function()

    def end(self) -> None:
        """Let everything wait for the database again."""
        self.is_on = False

    def answered(self) -> None:
        """Note that the database has answered. Any thread may call this."""
        self.answered_at = time.monotonic()

    def refuse(self) -> None:
        """Raise SilentError if the database is silent."""
        if self.is_on:
            raise SilentError(self.words)

    async def wait_for(self, answer: "asyncio.Future[T]") -> T:
        """Return an answer of the database, or raise SilentError when a silence begins first."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit)
                return await answer
        except TimeoutError:
            if limit.expired():
                raise SilentError(self.words) from None
            raise
        finally:
            self._limits.discard(limit)
