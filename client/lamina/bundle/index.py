"""A bundle's versions, read from its file on demand; it knows no flow and makes no call.

Opening reads the file once, and keeps positions: 8 bytes for each change, and some hundred for each key and each block
of 64 KiB. Worked example: three versions in one block; the first sets x and y, the second sets x, and the third deletes
y:

    blocks    starts [1], at offset 37
    changed   x: [2, 4]    y: [2, 7]       twice the version's number, plus one for a deletion

The map at version 2 has, for each key, the last change not above 5: x from version 2, and y from version 1. Reading it
unpacks the blocks of these versions; the last few blocks are kept. Threads and forked children may share it.
"""

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from lamina._streams.chain import Chain
from lamina.errors import DataLossError, InvalidError, LaminaError
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb

BLOCKS_KEPT: Final = 16
"""The number of unpacked blocks that are kept: each has 64 KiB, or one part of a version."""


_YEARS_1_TO_9999: Final = range(-62_135_596_800, 253_402_300_800)
"""The times, in seconds, that both the wire and Python can hold."""
_SECOND_NANOS: Final = 1_000_000_000


class BundleIndex:
    """One config's versions 1 to `head`. Raises OSError if there is no such file, InvalidError if it is no bundle."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._file = open(self._path, "rb", buffering=0)  # noqa: PTH123, SIM115 - any path; `close` closes it
        self.config = ""
        self.head = 0
        self._starts, self._offsets, self._sizes = array("q"), array("q"), array("q")  # by block
        self._times: list[int] = []
        self._changed: dict[str, array[int]] = {}
        self._block = lru_cache(BLOCKS_KEPT)(self._read_block)
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._block.cache_clear()

    def header(self, number: int) -> pb.ConfigVersion:
        """Return the header of a version."""
        return next(self._parts(number)).version

    def version_at(self, time: Timestamp) -> int:
        """Return the newest version committed at or before a time; 0 if none was."""
        microseconds = time.ToMicroseconds()
        place = bisect_right(self._times, microseconds) - 1
        if place < 0:
            return 0
        parts = self._block(place)
        return parts[bisect_right(parts, microseconds, key=_microseconds) - 1].version.version

    def all_keys(self) -> Iterable[str]:
        """Return all keys that ever existed, in no order."""
        return self._changed

    def changed(self, key: str) -> Sequence[int]:
        """Return the versions that changed a key, in ascending order."""
        return [place >> 1 for place in self._changed.get(key, ())]

    def last_change(self, key: str, number: int) -> int:
        """Return the last version up to a given one that changed a key; 0 if none did."""
        return self._last(key, number) >> 1

    def origin(self, key: str, number: int) -> int:
        """Return the version that set the value that a key has at a version; 0 if it has none."""
        place = self._last(key, number)
        return 0 if place & 1 else place >> 1

    def changes(self, places: Iterable[tuple[int, str]]) -> Iterator[tuple[pb.ConfigVersion, pb.Change]]:
        """Read some changes, given by version and key, in version order, each with its version's header."""
        for number, group in groupby(sorted(places), key=itemgetter(0)):
            keys = {key for _, key in group}
            for part in self._parts(number):
                header = part.version
                for change in part.changes:
                    if change.key in keys:
                        yield header, change

    def messages(self) -> Iterator[pb.WatchKeyHistoryResponse]:
        """Read everything from the beginning, as a watch after version 0 would send it."""
        reached = 0
        try:
            for block in bundle.blocks(_Reader(self._file.fileno())):
                if block.secret_keys:
                    continue  # of use to a server alone
                yield pb.WatchKeyHistoryResponse(changes=block.parts, bookmark=block.bookmark)
                reached = next((part.version.version for part in reversed(block.parts) if not part.more), reached)
        except bundle.DamagedError as error:
            raise self._lost(reached + 1, str(error)) from error
        raise self._lost(reached + 1, "the file ends there")

    def _index(self) -> None:
        """Find the positions of everything, and check that the file is complete."""
        reached: pb.ConfigVersion | None = None
        try:
            for block in bundle.blocks(_Reader(self._file.fileno())):
                if block.bookmark is None:
                    reached = self._index_block(block, reached)
                elif reached is None or (reached.version, reached.hash) != (
                    block.bookmark.version,
                    block.bookmark.hash,
                ):
                    raise self._lost(self.head + 1, f"the file ends with version {block.bookmark.version}")
        except bundle.NotABundleError as error:
            raise InvalidError(f"{self._path}: {error}", reason="BAD_REQUEST") from None
        except bundle.DamagedError as error:
            raise self._first_lost(str(error)) from error

    def _index_block(self, block: bundle.Block, reached: pb.ConfigVersion | None) -> pb.ConfigVersion | None:
        changed, number = self._changed, self.head
        for place, part in enumerate(block.parts):
            header = part.version
            if not self.config:
                self.config = header.config
            if header.version != number + 1 or header.config != self.config:
                raise self._lost(number + 1, f"version {header.version} of {header.config} is in its place")
            if not _can_be(header.commit_time):
                raise self._lost(number + 1, "it has a time that cannot be")
            if not place:
                self._starts.append(header.version)
                self._offsets.append(block.offset)
                self._sizes.append(block.size)
                self._times.append(_microseconds(part))
            twice = 2 * header.version
            for change in part.changes:
                key = change.key
                if key not in changed:
                    changed[key] = array("q")
                changed[key].append(twice + change.deleted)
            if not part.more:
                reached, number = header, header.version
        self.head = number
        return reached

    def _last(self, key: str, number: int) -> int:
        places = self._changed.get(key, _NEVER)
        place = bisect_right(places, 2 * number + 1)
        return places[place - 1] if place else 0

    def _parts(self, number: int) -> Iterator[pb.VersionChanges]:
        """Read the parts of a version."""
        place = max(bisect_left(self._starts, number) - 1, 0)  # it may begin in the block before
        while place < len(self._starts) and self._starts[place] <= number:
            parts = self._block(place)
            begin = bisect_left(parts, number, key=_number)
            for part in parts[begin : bisect_right(parts, number, key=_number)]:
                yield part
                if not part.more:
                    return
            place += 1

    def _read_block(self, place: int) -> Sequence[pb.VersionChanges]:
        packed = os.pread(self._file.fileno(), self._sizes[place], self._offsets[place])
        try:
            return bundle.unpack(packed)
        except bundle.DamagedError as error:
            raise self._lost(self._starts[place], str(error)) from error

    def _first_lost(self, why: str) -> DataLossError:
        """Find the first lost version by computing the hashes again: a damaged block has many versions."""
        chain: Chain | None = None
        try:
            for message in self.messages():
                for part in message.changes:
                    chain = chain or Chain(part.version.config)
                    chain.add(part)
        except (LaminaError, ArithmeticError, ValueError):
            pass  # any error means that the content is not what was hashed
        header = None if chain is None else chain.header
        self.config = self.config or ("it" if header is None else header.config)
        return self._lost(1 if header is None else header.version + 1, why)

    def _lost(self, number: int, why: str) -> DataLossError:
        text = f"version {number} of {self.config} cannot be read from {self._path}: {why}"
        return DataLossError(text, reason="HASH_MISMATCH")


class _Reader:
    """A file, read from its beginning with its own position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0

    def read(self, size: int, /) -> bytes:
        """Read the next bytes."""
        data = os.pread(self._descriptor, size, self._offset)
        self._offset += len(data)
        return data


_NEVER: Final = array("q")


def _can_be(time: Timestamp) -> bool:
    return time.seconds in _YEARS_1_TO_9999 and 0 <= time.nanos < _SECOND_NANOS


def _number(part: pb.VersionChanges) -> int:
    return part.version.version


def _microseconds(part: pb.VersionChanges) -> int:
    return part.version.commit_time.ToMicroseconds()
