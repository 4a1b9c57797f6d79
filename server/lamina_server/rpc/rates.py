"""How much each principal of a closed server may do: calls and bytes a second, and watches at once.

A principal that goes on and on has `rate` calls a second, and may save up what it does not use for BURST_SECONDS: so
thousands of watches may come back at once after a restart. Bytes are counted after they were sent, because nobody
knows before how large an answer is: who has used too many waits until they are paid back. A watch is held back
instead of refused. On an open server nobody has a name, and there are no such limits.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Access, CallerLimits
from lamina_server.domain.errors import LimitError, RateError, Reason
from lamina_server.settings import Settings

BURST_SECONDS: Final = 10
DEBT_SECONDS: Final = 10
"""An answer costs its caller no longer wait than this, however small the limit."""
_USAGES_KEPT: Final = 10_000

_DEFAULT: Final = CallerLimits()


class Bucket:
    """What one principal has left of one rate. A rate of 0 is no limit."""

    def __init__(self, now: float) -> None:
        self._rate = 0
        self._left = 0.0
        self._at = now

    def set_rate(self, rate: int) -> None:
        """Take another rate; what is left of a burst stays in proportion."""
        share = self._left / (self._rate * BURST_SECONDS) if self._rate else 1.0
        self._rate, self._left = rate, share * rate * BURST_SECONDS

    @property
    def rate(self) -> int:
        """Return how much is allowed within a second; 0: any number."""
        return self._rate

    def spend(self, amount: float, now: float) -> None:
        """Use some, which may leave a debt."""
        rate = self._rate
        left = min(self._left + (now - self._at) * rate, rate * BURST_SECONDS) - amount
        self._left, self._at = max(left, -float(rate * DEBT_SECONDS)), now

    def wait_seconds(self, amount: float, now: float) -> float:
        """Return how long it takes until an amount is there; 0 if it is."""
        if not self._rate:
            return 0.0
        return max((amount - self._left) / self._rate - (now - self._at), 0.0)

    def is_full(self, now: float) -> bool:
        """Return whether nothing was used lately."""
        return self.wait_seconds(self._rate * BURST_SECONDS, now) == 0


class Usage:
    """What one caller uses. This one is that of callers without limits.

    spend  counts bytes that were received or sent
    """

    def spend(self, size_bytes: int) -> None:
        """Count bytes of a request or an answer."""

    async def pace(self, size_bytes: int) -> None:
        """Count bytes of a watch, and wait until they are paid back."""

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count a watch for the duration of the block. Raise LimitError if there are too many."""
        yield


NO_LIMITS: Final = Usage()


class _Counted(Usage):
    def __init__(self, principal: str, clock: Callable[[], float]) -> None:
        self._principal = principal
        self._clock = clock
        now = clock()
        self._calls, self._bytes = Bucket(now), Bucket(now)
        self._watches, self._watch_limit = 0, 0
        self._access: Access | None = None

    @property
    def is_idle(self) -> bool:
        now = self._clock()
        return not self._watches and self._calls.is_full(now) and self._bytes.is_full(now)

    def follow(self, access: Access, settings: Settings) -> None:
        """Take the limits of another access."""
        if access is self._access:
            return
        self._access = access
        limits = access.limits.get(self._principal, _DEFAULT)
        self._calls.set_rate(_or_default(limits.calls_per_second, settings.caller_limit_calls_per_second))
        self._bytes.set_rate(_or_default(limits.bytes_per_second, settings.caller_limit_bytes_per_second))
        self._watch_limit = _or_default(limits.watches, settings.caller_limit_watches)

    def begin(self) -> None:
        """Count a call. Raise RateError if there were too many, or too many bytes."""
        now = self._clock()
        if wait := self._calls.wait_seconds(1, now):
            raise self._too_many("calls", self._calls.rate, wait)
        if wait := self._bytes.wait_seconds(0, now):
            raise self._too_many("bytes", self._bytes.rate, wait)
        self._calls.spend(1, now)

    def spend(self, size_bytes: int) -> None:
        self._bytes.spend(size_bytes, self._clock())

    async def pace(self, size_bytes: int) -> None:
        now = self._clock()
        self._bytes.spend(size_bytes, now)
        if wait := self._bytes.wait_seconds(0, now):
            await asyncio.sleep(wait)

    @contextmanager
    def watch(self) -> Iterator[None]:
        limit = self._watch_limit
        if limit and self._watches >= limit:
            what = f"watches of {self._principal!r}"
            raise LimitError(Reason.TOO_MANY, what, limit=limit, actual=limit + 1, unit="watches")
        self._watches += 1
        try:
            yield
        finally:
            self._watches -= 1

    def _too_many(self, unit: str, limit: int, wait_seconds: float) -> RateError:
        what = f"{unit} of {self._principal!r} in a second"
        return RateError(what, limit=limit, unit=unit, retry_seconds=math.ceil(wait_seconds * 1_000) / 1_000)


class Rates:
    """The usages of all principals. Lives on the event loop."""

    def __init__(self, access: LiveAccess, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._settings = settings
        self._clock = clock
        self._usages: dict[str, _Counted] = {}

    def begin(self, principal: str) -> Usage:
        """Count a call of a principal, which is empty on an open server. Raise RateError if there were too many."""
        if not principal:
            return NO_LIMITS
        usage = self._usages.get(principal)
        if usage is None:
            usage = self._add(principal)
        usage.follow(self._access.current, self._settings)
        usage.begin()
        return usage

    def _add(self, principal: str) -> _Counted:
        if len(self._usages) >= _USAGES_KEPT:
            self._usages = {name: usage for name, usage in self._usages.items() if not usage.is_idle}
        usage = self._usages[principal] = _Counted(principal, self._clock)
        return usage


def _or_default(limit: int | None, default: int) -> int:
    return default if limit is None else limit
