"""Heads in memory: the newest version of each config that was lately asked for, and older maps that were read whole.

Lives on the event loop, and so do the maps: only `advance` changes one. A head that is lent
to the writer is not advanced until it is given back. What is held is bounded in bytes; what
was used least recently goes first.

Of a store that this server has for itself, memory is the head. Of one that is shared, it
may be behind: then each read asks first which version is the head (see read_index), and
reads what is missing. Another hash under a known number, or a head that has gone back, is
another past (a restored backup, a failover that lost versions): what was held is dropped.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from lamina_server.cache import catch_up
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.maps import HeadMap, MapSnapshot
from lamina_server.cache.read_index import ReadIndex
from lamina_server.domain.records import HeadMark, Version
from lamina_server.store.contract import Reading
from lamina_server.store.readers import Readers

CATCH_UP_TRIES = 3
"""A catching up that is joined may be on its way to an older version, and so may the one after it."""
LENT_SECONDS = 0.25
"""How long a read waits for the writer to give a head back: a COMMIT may wait for a standby as long as that is away."""
COPIED_ON_THE_LOOP_KEYS = 10_000
"""A recent map up to this size is made from the head at once, in some milliseconds, and held; a larger one is looked at
through the head, anew for each page: to read it from the store takes seconds, and whoever reads it page by page while
others commit is always a few versions behind."""

_log = structlog.get_logger(__name__)


class Heads:
    """What is held of each config. `limit_bytes` bounds it, by estimate."""

    def __init__(self, readers: Readers, codec: Codec, *, limit_bytes: int, is_shared: bool) -> None:
        self._readers = readers
        self._codec = codec
        self._limit_bytes = limit_bytes
        self._index = ReadIndex(readers) if is_shared else None
        self._held: OrderedDict[tuple[str, int | None], MapSnapshot] = OrderedDict()
        self._sizes: dict[tuple[str, int | None], int] = {}
        self._held_bytes = 0
        self._under_way: dict[tuple[str, object], asyncio.Task[Any]] = {}
        self._missed: dict[str, list[EncodedChanges]] = {}
        self._lent: Collection[str] = ()
        self._given_back = asyncio.Event()

    @property
    def is_shared(self) -> bool:
        """Whether others write to the database, so that memory may be behind it."""
        return self._index is not None

    # --- reads ------------------------------------------------------------------------------

    async def head(self, config: str) -> HeadMap | None:
        """Return a config's head as of some moment after this call; None where there is no such config."""
        if self._index is None:
            return self.peek(config) or await self._load(config)
        known = self.peek(config)
        known_number = known.number if known else 0
        mark = await self._index.ask(config)
        if mark is None or mark.number < known_number:
            self.forget(config)
        return None if mark is None else await self._current(config, mark)

    async def mark(self, config: str) -> HeadMark | None:
        """Return which version is a config's head as of some moment after this call, without its map."""
        if self._index is not None:
            return await self._index.ask(config)
        if head := self.peek(config):
            return head.mark
        mark: HeadMark | None = await self._once((config, "mark"), self._readers.read(partial(_read_mark, config)))
        await self.settled(config)
        return mark

    async def snapshot(self, config: str, number: int) -> MapSnapshot | None:
        """Return the whole map of a version, from memory or read, and hold it; None where there is no such version.

        What is returned is good until the event loop is given back.
        """
        held = self._get((config, number))
        if held is None:
            head = self.peek(config)
            if head is not None and head.number == number:
                return head
            if head is not None and head.reaches(number):
                if len(head.keys) > COPIED_ON_THE_LOOP_KEYS:
                    return head.view_at(number)
                held = head.snapshot_at(number)
            else:
                read = partial(_read_snapshot, config=config, number=number, codec=self._codec)
                held = await self._once((config, number), self._readers.read(read))
            if held is not None:
                self._hold((config, number), held)
        return held

    def peek(self, config: str) -> HeadMap | None:
        """Return what is held of a config's head, which on a shared store may be old."""
        held = self._get((config, None))
        assert held is None or isinstance(held, HeadMap)
        return held

    async def settled(self, config: str | None) -> None:
        """Wait until memory is not behind what was just read from the store of a config; None: of any.

        Between the end of a transaction and the heads' advance a reader of the store is ahead
        of memory, and whoever asked both in turn would go back. (On a shared store memory is
        held against the store anyway.)
        """
        if self._index is None and (config in self._lent if config is not None else self._lent):
            await self._given_back.wait()

    def warm(self, config: str) -> None:
        """Begin to read a config's head, where it is not held, for those who will ask for it."""
        if self._limit_bytes and self.peek(config) is None and (config, None) not in self._under_way:
            self._begin((config, None), self._read_head(config)).add_done_callback(_report)

    # --- commits ----------------------------------------------------------------------------

    def freeze(self, configs: Collection[str]) -> Mapping[str, HeadMap]:
        """Return the heads that are held of these configs; none of them changes until `advance`."""
        self._lent = configs
        self._given_back.clear()
        return {config: head for config in configs if (head := self.peek(config))}

    def advance(self, made: Iterable[EncodedChanges], forked: Iterable[str]) -> None:
        """Advance the heads by what was committed, in order, and drop those whose past is another."""
        self._lent = ()
        self._given_back.set()
        for config in forked:
            self.forget(config)
        for changes in made:
            self._advance(changes)

    def forget(self, config: str) -> None:
        """Drop all that is held of a config."""
        for key in [key for key in self._held if key[0] == config]:
            self._drop(key)

    # --- how heads come and go --------------------------------------------------------------

    def _advance(self, made: EncodedChanges) -> None:
        config, number = made.version.config, made.version.number
        if config in self._missed:
            self._missed[config].append(made)
        head = self.peek(config)
        if head is None:
            if number == 1 and config not in self._missed:
                self._hold((config, None), HeadMap.first(made))
        elif number == head.number + 1:
            head.advance(made)
            self._hold((config, None), head)
        elif number > head.number:
            self.forget(config)

    async def _current(self, config: str, mark: HeadMark) -> HeadMap | None:
        """Bring a head up to a version that the store has by now."""
        head = self.peek(config) or await self._load(config)
        for _ in range(CATCH_UP_TRIES):
            if head is not None and head.number < mark.number:
                head = await self._once((config, "catch up"), self._catch_up(config, mark))
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
        read = partial(catch_up.read_encoded, config=config, after=known.number, through=mark.number, codec=self._codec)
        found = await self._readers.read(read)
        missing = found[1] if found is not None and found[0] == known else []
        try:
            async with asyncio.timeout(LENT_SECONDS):
                while config in self._lent:
                    await self._given_back.wait()
        except TimeoutError:
            return await self._readers.read(partial(_read_newest, config=config, codec=self._codec))
        head = self.peek(config)  # the writer, who was behind too, may have brought what was missing
        for made in missing:
            if head is not None and made.version.number > head.number:
                self._advance(made)
        return self.peek(config)

    async def _load(self, config: str) -> HeadMap | None:
        head: HeadMap | None = await self._once((config, None), self._read_head(config))
        return head

    async def _read_head(self, config: str) -> HeadMap | None:
        """Read a head, and what was committed while it was read."""
        self._missed[config] = []
        try:
            head = await self._readers.read(partial(_read_newest, config=config, codec=self._codec))
        finally:
            missed = self._missed.pop(config)
        for made in missed:
            if head is None and made.version.number == 1:
                head = HeadMap.first(made)
            elif head is not None and made.version.number == head.number + 1:
                head.advance(made)
        if head is not None:
            self._hold((config, None), head)
        return head

    async def _once(self, key: tuple[str, object], doing: Coroutine[Any, Any, Any]) -> Any:
        """Do something once for all who want it at the same time, whoever of them leaves."""
        if key in self._under_way:
            doing.close()
        return await asyncio.shield(self._under_way.get(key) or self._begin(key, doing))

    def _begin(self, key: tuple[str, object], doing: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        def ended(task: "asyncio.Task[Any]") -> None:
            del self._under_way[key]
            if not task.cancelled():
                task.exception()  # looked at: those who wanted it may all have left

        self._under_way[key] = task = asyncio.get_running_loop().create_task(doing)
        task.add_done_callback(ended)
        return task

    # --- the budget -------------------------------------------------------------------------

    def _get(self, key: tuple[str, int | None]) -> MapSnapshot | None:
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def _hold(self, key: tuple[str, int | None], held: MapSnapshot) -> None:
        self._held[key] = held
        self._held.move_to_end(key)
        self._held_bytes += held.held_bytes - self._sizes.get(key, 0)
        self._sizes[key] = held.held_bytes
        while self._held_bytes > self._limit_bytes:
            self._drop(next(iter(self._held)))

    def _drop(self, key: tuple[str, int | None]) -> None:
        del self._held[key]
        self._held_bytes -= self._sizes.pop(key)


def _read_mark(config: str, reading: Reading) -> HeadMark | None:
    return reading.head_marks([config]).get(config)


def _read_newest(reading: Reading, config: str, codec: Codec) -> HeadMap | None:
    version = reading.head(config)
    return HeadMap(*_read_map(reading, version, codec)) if version else None


def _read_snapshot(reading: Reading, config: str, number: int, codec: Codec) -> MapSnapshot | None:
    version = reading.versions(config, [number]).get(number)
    return MapSnapshot(*_read_map(reading, version, codec)) if version else None


def _read_map(reading: Reading, version: Version, codec: Codec) -> tuple[Version, bytes, dict[str, bytes], list[str]]:
    entries = {entry.key: codec.encode_entry(entry) for entry in reading.entries(version.config, version.number)}
    keys = reading.changed_keys(version.config, [version.number]).get(version.number, ())
    return version, codec.encode_header(version, keys), entries, list(entries)


def _report(task: "asyncio.Task[Any]") -> None:
    """Tell the operator of a head that could not be read in the background; who asks for it gets the error too."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("head not read", exc_info=error)
