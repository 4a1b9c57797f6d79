"""The keys of an identity provider, fetched from its JWKS and followed. Lives on the event loop; fetches on threads.

The first fetch begins at once, and others follow every few minutes. An unknown key makes one more, at most once a
minute, which all callers share that wait for it. While the provider is away, or answers nonsense, the keys
that were fetched last still count.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from lamina_server.access import download
from lamina_server.domain.access import Issuer
from lamina_server.domain.record import record
from lamina_server.store.background import in_background

if TYPE_CHECKING:
    from jwt import PyJWK

    from lamina_server.access.jwts import Keys

_log = structlog.get_logger(__name__)


@record
class KeyTimes:
    """How often keys are fetched, in seconds.

    refresh  after a fetch that went well
    retry    after one that failed
    unknown  between two fetches because of unknown keys
    limit    how long a fetch may take
    """

    refresh: float = 600
    retry: float = 15
    unknown: float = 60
    limit: float = 10


DEFAULT_TIMES: Final = KeyTimes()

TOLD_EVERY_SECONDS: Final = 600
"""How often the log repeats that the keys of an issuer cannot be fetched."""


class KeySet:
    """The keys of one issuer.

    on_change  called when other keys have taken the place of the old ones
    """

    def __init__(self, issuer: Issuer, times: KeyTimes, *, on_change: Callable[[], None]) -> None:
        self._issuer = issuer
        self._times = times
        self._on_change = on_change
        self._document = b""
        self._keys: Keys = {}
        self._is_failing = False
        self._unknown_after = 0.0
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def find(self, key_id: str | None) -> "PyJWK | None":
        """Return a key. If it is unknown, wait for the fetch that is under way or may begin."""
        if key_id not in self._keys and (not self._fetching.done() or self._may_ask()):
            await self._fetched()
        return self._keys.get(key_id)

    def stop(self) -> None:
        """Fetch no more. Those who wait go on with the keys that there are."""
        self._following.cancel()
        self._fetching.cancel()

    def _may_ask(self) -> bool:
        """Return whether an unknown key may make a fetch now; then the next one has to wait."""
        now = time.monotonic()
        if now < self._unknown_after:
            return False
        self._unknown_after = now + self._times.unknown
        return True

    async def _follow(self) -> None:
        while True:
            await self._fetched()
            await asyncio.sleep(self._times.retry if self._is_failing else self._times.refresh)

    async def _fetched(self) -> None:
        """Wait for the fetch under way, or for a new one. It goes on when this is cancelled."""
        if self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.wait({self._fetching})

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._times.limit):
                document, keys = await in_background(self._read, name="lamina-keys")
        except TimeoutError:
            self._failed(download.DownloadError(f"there was no answer within {self._times.limit:g} s"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the old keys stay
            self._failed(error)
        else:
            self._succeeded(document, keys)

    def _read(self) -> "tuple[bytes, Keys]":
        """Fetch the keys. Runs on a thread, where it does no harm that PyJWT takes long to import."""
        from lamina_server.access import jwts  # noqa: PLC0415

        document = download.read(self._issuer.jwks, limit_seconds=self._times.limit)
        return document, jwts.keys(document, self._issuer.algorithm)

    def _succeeded(self, document: bytes, keys: "Keys") -> None:
        if self._is_failing:
            _log.info("keys of an issuer fetched again", issuer=self._issuer.name, keys=len(keys))
        self._is_failing = False
        if document != self._document:
            self._document, self._keys = document, keys
            self._on_change()

    def _failed(self, error: Exception) -> None:
        self._is_failing = True
        _log.error(
            "keys of an issuer not fetched",
            issuer=self._issuer.name,
            old_keys=len(self._keys),
            cause=self._issuer.name,
            every_seconds=TOLD_EVERY_SECONDS,
            exc_info=error,
        )
