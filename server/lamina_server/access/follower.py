"""The access that holds is the newest version of `_lamina/access`: followed as a watch follows a config.

A version that this server has committed, or has heard of, is in the feed's ring: then its changes are applied to the
map that is held here, without a question to the database. Otherwise the whole map is read. Whatever goes wrong, the
access that held goes on, and the log says so. Worked example, with version 7 held:

    the feed gets 8, which revokes a token   8 holds, within milliseconds
    8 cannot be read as an access            7 holds, and the log has an error
    the database does not answer             7 holds, and it is asked again and again
    the database has gone back to 5          7 holds until somebody commits the next version, which is then 6

Lives on the event loop.
"""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack

import structlog

from lamina_server.access.live import LiveAccess, read_map
from lamina_server.cache.encoded import Codec
from lamina_server.domain import access_map
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import InvalidError, ServerError
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.selection import EVERYTHING
from lamina_server.domain.values import Value
from lamina_server.feed.feed import Feed
from lamina_server.feed.ring import Recent, Ring
from lamina_server.feed.subscribers import Subscriber
from lamina_server.logs import OutageLog
from lamina_server.store.readers import Readers

RETRY_SECONDS = 0.25
"""Between two questions to a database that does not answer."""
_LONGEST_SLEEP_SECONDS = 3_600.0
_VERSIONS_AT_ONCE = 1_000

_log = structlog.get_logger(__name__)


class AccessFollower:
    """Swaps a LiveAccess whenever `_lamina/access` changes."""

    def __init__(self, access: LiveAccess, feed: Feed, readers: Readers, codec: Codec) -> None:
        self._access = access
        self._feed = feed
        self._readers = readers
        self._codec = codec
        self._mark = NO_VERSION
        self._values: dict[str, Value] = {}
        self._subscription = ExitStack()
        self._task: asyncio.Task[None] | None = None
        self._outage = OutageLog(f"{ACCESS_CONFIG} not read: the access that held goes on", f"{ACCESS_CONFIG} read")

    async def start(self) -> None:
        """Read the access, and follow it from then on. If it cannot be read now, nobody may do anything until it is."""
        subscriber = self._subscription.enter_context(self._feed.subscribe(ACCESS_CONFIG, EVERYTHING))
        try:
            await self._catch_up(subscriber)
        except ServerError as error:
            self._outage.failed(error)
        self._task = asyncio.get_running_loop().create_task(self._follow(subscriber))

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._subscription.close()

    async def _follow(self, subscriber: Subscriber) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._catch_up(subscriber)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may find the database back
                self._outage.failed(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._outage.recovered()
                # There is no `await` between the last look at the ring and this sleep.
                await subscriber.sleep(loop.time() + _LONGEST_SLEEP_SECONDS)

    async def _catch_up(self, subscriber: Subscriber) -> None:
        """Take what is newer than the map that is held, until nothing is."""
        while (ring := subscriber.ring) is None or ring.last != self._mark:
            if ring is not None and self._is_followed_by(ring):
                mark, values = ring.last, self._changed(ring.after(self._mark.number, _VERSIONS_AT_ONCE))
            else:
                known = self._feed.last(ACCESS_CONFIG)
                mark, values = await self._readers.read(read_map)
                self._feed.set_head(ACCESS_CONFIG, known, mark)
            await self._take(mark, values)

    def _is_followed_by(self, ring: Ring) -> bool:
        """Return whether a ring has all the versions after the one that is held."""
        number = self._mark.number
        is_near = 0 < ring.last.number - number <= _VERSIONS_AT_ONCE
        return is_near and ring.reaches(number) and ring.hash_of(number) == self._mark.hash

    def _changed(self, recents: Iterable[Recent]) -> dict[str, Value]:
        values = dict(self._values)
        for recent in recents:
            for key, encoded in recent.made.entries.items():
                values.pop(key, None)
                if encoded is not None:
                    values[key] = self._codec.decode_entry(encoded).value
        return values

    async def _take(self, mark: HeadMark, values: dict[str, Value]) -> None:
        """Hold a map, and let it be the access if it is newer and can be one."""
        before = self._mark
        if mark.number > before.number:
            await self._swap(mark, values)
        elif mark != before:
            self._keep(mark, f"the database has gone back from version {before.number} of it, as an old backup does")
        self._mark, self._values = mark, values

    async def _swap(self, mark: HeadMark, values: dict[str, Value]) -> None:
        try:
            # On a thread, because a large map takes longer than other calls should wait.
            access = await asyncio.to_thread(access_map.read, values, mark.number)
        except InvalidError as error:
            self._keep(mark, f"{error}. `lamina-server access reset` leaves out what is wrong")
        else:
            self._access.swap(access)
            _log.info(f"{ACCESS_CONFIG} followed", version=mark.number)

    def _keep(self, mark: HeadMark, reason: str) -> None:
        held = self._access.current.version
        what = f"version {held} holds" if held else "no version of it holds, so a closed server lets nobody in"
        _log.error(f"{ACCESS_CONFIG} not followed", version=mark.number, access=what, reason=reason)
