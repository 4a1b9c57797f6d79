"""Heads in memory: the newest version of each config that is in use, and the maps of older versions that were read.

Lives on the event loop, and so do the maps: only `advance` changes one. A head that the
writer reads is frozen until the writer is done. The maps held are bounded in bytes; the map
that was used least recently goes first.

If this server has the store for itself, memory is the head. If the store is shared, memory
may be behind: then each read first asks which version is the head (see read_index), and
reads what is missing. Another hash under a known number, or a head that has gone back,
means another epoch (a restored backup, or a failover that lost versions): then everything
that is held of the config is dropped.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from lamina_server.cache.budget import ByteBudget
from lamina_server.cache.catch_up import read_encoded_changes
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.cache.maps import HeadMap, MapSnapshot
from lamina_server.cache.read_index import ReadIndex
from lamina_server.cache.single_flight import SingleFlight
from lamina_server.domain.records import HeadMark, Version
from lamina_server.store.contract import Reading, changed_keys_of
from lamina_server.store.readers import Readers

CATCH_UP_TRIES = 3
"""A catch-up that was joined may target an older version, and so may the one that follows it."""
FROZEN_LIMIT_SECONDS = 0.25
"""How long a read waits for a frozen head: while a standby is away, a COMMIT may wait for it just as long."""

_log = structlog.get_logger(__name__)


class Heads:
    """The maps held of all configs. `limit_bytes` bounds them, by estimate."""

    def __init__(
        self,
        readers: Readers,
        codec: Codec,
        *,
        limit_bytes: int,
        is_shared: bool,
        limits: CacheLimits = DEFAULT_LIMITS,
    ) -> None:
        self._readers = readers
        self._codec = codec
        self._limits = limits
        self._is_caching = limit_bytes > 0
        self._is_shared = is_shared
        self._index = ReadIndex(readers)
        self._maps: ByteBudget[tuple[str, int | None], MapSnapshot] = ByteBudget(limit_bytes)
        self._oldest: dict[str, int] = {}
        self._flights = SingleFlight()
        self._committed_meanwhile: dict[str, list[EncodedChanges]] = {}
        self._frozen: Collection[str] = ()
        self._advanced = asyncio.Event()

    @property
    def is_shared(self) -> bool:
        """Return whether others write to the database, so that memory may be behind it."""
        return self._is_shared

    @property
    def held_bytes(self) -> int:
        """Return the memory that all maps take, by estimate."""
        return self._maps.held_bytes

    @property
    def held_maps(self) -> int:
        """Return how many maps are held, of heads and of older versions."""
        return self._maps.held_values

    # --- reads ------------------------------------------------------------------------------

    async def head(self, config: str) -> HeadMap | None:
        """Return a config's head as of some moment after this call; None if there is no such config."""
        if not self._is_shared:
            return self.peek(config) or await self._load(config)
        known = self.peek(config)
        known_number = known.number if known else 0
        mark = await self._ask(config)
        if mark is None or mark.number < known_number:
            self.forget(config)
        return None if mark is None else await self._current(config, mark)

    async def head_mark(self, config: str) -> HeadMark | None:
        """Return which version is a config's head as of some moment after this call, without its map."""
        if not self._is_shared and (head := self.peek(config)):
            return head.mark
        mark = await self._ask(config)
        await self.wait_until_current(config)
        return mark

    async def snapshot(self, config: str, number: int) -> MapSnapshot | None:
        """Return the whole map of a version, from memory or from the store; None if there is no such version.

        It is valid until the caller awaits something.
        """
        held = self._maps.get((config, number))
        if held is None:
            head = self.peek(config)
            if head is not None and head.number == number:
                return head
            if head is not None and head.reaches(number):
                if len(head.keys) > self._limits.copied_keys:
                    return head.view_at(number)
                held = head.snapshot_at(number)
            else:
                question = partial(_read_snapshot, config=config, number=number, codec=self._codec)
                held = await self._flights.join((config, number), partial(self._readers.read, question))
            if held is not None:
                self._hold((config, number), held)
        return held

    def oldest(self, config: str) -> int:
        """Return the oldest version whose map may be read, as far as this is known; the store knows better.

        Memory may hold older ones of a shared store, which others have compacted meanwhile.
        """
        return self._oldest.get(config, 1)

    def peek(self, config: str) -> HeadMap | None:
        """Return the head that is held of a config, which may be behind a shared store; None if none is held."""
        held = self._maps.get((config, None))
        assert held is None or isinstance(held, HeadMap)
        return held

    async def wait_until_current(self, config: str | None) -> None:
        """Wait until memory is not behind what was just read from the store of a config; None: of any config.

        Between the end of a transaction and the heads' advance a reader of the store is ahead
        of memory, and a caller that asked first one and then the other would go back. (On a
        shared store each read compares memory with the store anyway.)
        """
        if not self._is_shared and (config in self._frozen if config is not None else self._frozen):
            await self._advanced.wait()

    def warm(self, config: str) -> None:
        """Begin to read a config's head for later calls, unless it is held."""
        if self._is_caching and self.peek(config) is None and (config, None) not in self._flights:
            self._flights.begin((config, None), partial(self._read_head, config)).add_done_callback(_report)

    # --- commits ----------------------------------------------------------------------------

    def freeze(self, configs: Collection[str]) -> Mapping[str, HeadMap]:
        """Return the heads that are held of these configs; none of them changes until `advance`."""
        self._frozen = configs
        self._advanced.clear()
        return {config: head for config in configs if (head := self.peek(config))}

    def advance(self, made: Iterable[EncodedChanges], diverged: Iterable[str]) -> None:
        """Advance the heads by committed versions, in order; first forget the configs that are in another epoch."""
        self._frozen = ()
        self._advanced.set()
        for config in diverged:
            self.forget(config)
        for changes in made:
            self._advance(changes)

    def forget(self, config: str) -> None:
        """Drop all maps that are held of a config."""
        for key in [key for key in self._maps if key[0] == config]:
            self._maps.drop(key)

    # --- how heads come and go --------------------------------------------------------------

    def _advance(self, made: EncodedChanges) -> None:
        config, number = made.version.config, made.version.number
        if config in self._committed_meanwhile:
            self._committed_meanwhile[config].append(made)
        head = self.peek(config)
        if head is None:
            if number == 1 and config not in self._committed_meanwhile:
                self._hold((config, None), HeadMap.first(made, limits=self._limits))
        elif number == head.number + 1:
            head.advance(made)
            self._hold((config, None), head)
        elif number > head.number:
            self.forget(config)

    def _hold(self, key: tuple[str, int | None], held: MapSnapshot) -> None:
        self._maps.put(key, held, held.held_bytes)

    async def _ask(self, config: str) -> HeadMark | None:
        mark = await self._index.ask(config)
        if mark is not None and mark.oldest > 1:
            self._oldest[config] = mark.oldest
        else:
            self._oldest.pop(config, None)
        return mark

    async def _current(self, config: str, mark: HeadMark) -> HeadMap | None:
        """Return a head that is at least at a version which the store has by now."""
        head = self.peek(config) or await self._load(config)
        for _ in range(CATCH_UP_TRIES):
            if head is not None and head.number < mark.number:
                head = await self._flights.join((config, "catch up"), partial(self._catch_up, config, mark))
        known = head.version_at(mark.number) if head else None
        if head is None or head.number < mark.number or (known and known.hash != mark.hash):
            self.forget(config)
            head = await self._load(config)
        return head

    async def _catch_up(self, config: str, mark: HeadMark) -> HeadMap | None:
        head = self.peek(config)
        if head is None or head.number >= mark.number:
            return head
        known = head.mark
        found = await self._readers.read(
            partial(
                read_encoded_changes,
                config=config,
                after=known.number,
                through=mark.number,
                codec=self._codec,
                limits=self._limits,
            )
        )
        missing = found[1] if found is not None and found[0] == known else []
        try:
            async with asyncio.timeout(FROZEN_LIMIT_SECONDS):
                while config in self._frozen:
                    await self._advanced.wait()
        except TimeoutError:
            return await self._readers.read(self._newest(config))
        head = self.peek(config)  # the writer, which was behind too, may have brought what was missing
        for made in missing:
            if head is not None and made.version.number > head.number:
                self._advance(made)
        return self.peek(config)

    async def _load(self, config: str) -> HeadMap | None:
        return await self._flights.join((config, None), partial(self._read_head, config))

    async def _read_head(self, config: str) -> HeadMap | None:
        """Read a head, and advance it by what was committed while it was read."""
        self._committed_meanwhile[config] = []
        try:
            head = await self._readers.read(self._newest(config))
        finally:
            meanwhile = self._committed_meanwhile.pop(config)
        for made in meanwhile:
            if head is None and made.version.number == 1:
                head = HeadMap.first(made, limits=self._limits)
            elif head is not None and made.version.number == head.number + 1:
                head.advance(made)
        if head is not None:
            self._hold((config, None), head)
        return head

    def _newest(self, config: str) -> "partial[HeadMap | None]":
        return partial(_read_newest, config=config, codec=self._codec, limits=self._limits)


def _read_newest(reading: Reading, config: str, codec: Codec, limits: CacheLimits) -> HeadMap | None:
    version = reading.head(config)
    return HeadMap(*_read_map(reading, version, codec), limits=limits) if version else None


def _read_snapshot(reading: Reading, config: str, number: int, codec: Codec) -> MapSnapshot | None:
    version = reading.versions(config, [number]).get(number)
    return MapSnapshot(*_read_map(reading, version, codec)) if version else None


def _read_map(reading: Reading, version: Version, codec: Codec) -> tuple[Version, bytes, dict[str, bytes], list[str]]:
    entries = {entry.key: codec.encode_entry(entry) for entry in reading.entries(version.config, version.number)}
    header = codec.encode_header(version, changed_keys_of(reading, version))
    return version, header, entries, list(entries)


def _report(task: "asyncio.Task[Any]") -> None:
    """Log that a head could not be read in the background; a caller that reads it later gets the error too."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("head not read", exc_info=error)
