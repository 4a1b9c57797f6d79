"""A config's whole past in one file: how it is framed, written and read. Knows neither end, and no hash.

A bundle is a gzip file of several members, each of which can be unpacked by itself. What they hold, joined, is one
message WatchKeyHistoryResponse: all that a watch after version 0 would have sent, and a bookmark at its end. See
protos/BUNDLE.md.

    member    holds
    1         field 15, which that message does not have: what this file is
    2 ...     whole VersionChanges, about BLOCK_BYTES of them: a block
    the last  a bookmark: the newest version and its hash. A file without one was cut off

gzip's own checksums notice damage. That a past is the one that was committed, only its hashes prove: that is for who
reads it.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from lamina_protos.v1 import lamina_pb2 as pb

BLOCK_BYTES: Final = 64 * 1024
"""Unpacked. Reading one version unpacks its block; larger ones would pack hardly better."""
BLOCK_LIMIT_BYTES: Final = 80 * 1024 * 1024
"""No part of a version is larger, whatever a server's settings: what unpacks to more was made to fill a memory."""

_MARK: Final = b"lamina bundle "
_FORMAT: Final = b"1"
_MARK_FIELD: Final = bytes([15 << 3 | 2])
_CHANGES_FIELD: Final = bytes([pb.WatchKeyHistoryResponse.CHANGES_FIELD_NUMBER << 3 | 2])
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 6
_READ_BYTES: Final = 256 * 1024
_SALVAGING_STEPS: Final = 500_000
_MORE: Final = 0x80  # of a varint's byte: another one follows


class Readable(Protocol):
    """A file that is read from its beginning."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many of the next bytes; none at the end."""
        ...


class Writable(Protocol):
    """A file that is written from its beginning."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""
        ...


class NotABundleError(ValueError):
    """The file is none, or one of a later format."""


class DamagedError(ValueError):
    """The file is not as it was written; the text says how, and where."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some parts of versions, and where in the file they are packed. The last one has the bookmark, and no parts.

    problem      what is wrong with it: DamagedError comes after it, and these are the parts that can still be read
    secret_keys  the data keys of its secrets, encrypted; only the block before the last one has some
    """

    offset: int
    size: int
    parts: Sequence[pb.VersionChanges]
    bookmark: pb.Bookmark | None = None
    problem: str | None = None
    secret_keys: Sequence[pb.SecretKey] = ()


class Writer:
    """Writes a bundle, a block at a time."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._block: list[bytes] = []
        self._size = 0
        mark = _MARK + _FORMAT
        self._write(_MARK_FIELD + _length(mark) + mark)

    def add(self, part: pb.VersionChanges) -> None:
        """Add a version, or the next part of one."""
        encoded = part.SerializeToString()
        self._block += (_CHANGES_FIELD, _length(encoded), encoded)
        self._size += len(encoded)
        if self._size >= BLOCK_BYTES:
            self._flush()

    def add_secret_keys(self, keys: Sequence[pb.SecretKey]) -> None:
        """Add the data keys of the secrets, after all versions. Call it at most once, and not without a key."""
        self._flush()
        self._write(pb.WatchKeyHistoryResponse(secret_keys=keys).SerializeToString())

    def finish(self, version: int, version_hash: bytes) -> None:
        """Add the end: what the newest version is."""
        self._flush()
        bookmark = pb.Bookmark(version=version, hash=version_hash)
        self._write(pb.WatchKeyHistoryResponse(bookmark=bookmark).SerializeToString())

    def _flush(self) -> None:
        if self._block:
            self._write(b"".join(self._block))
            self._block, self._size = [], 0

    def _write(self, content: bytes) -> None:
        packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._file.write(packing.compress(content) + packing.flush())


def blocks(file: Readable) -> Iterator[Block]:
    """Read a bundle from its beginning, block by block; the last one has the bookmark.

    Of a block that is damaged, what can still be read comes first: who makes the hashes anew finds out which version
    it is. Then, or at once, DamagedError. NotABundleError before anything else.
    """
    members = _members(file)
    _check_mark(next(members, None))
    for member in members:
        message, problem = _parse(member)
        if problem is None and message.HasField("bookmark"):
            if message.changes or next(members, None) is not None:
                raise DamagedError(f"there is more than the end at byte {member.offset} of the file")
            yield Block(member.offset, member.size, (), message.bookmark)
            return
        problem = problem and f"{problem}, after byte {member.offset}"
        yield Block(member.offset, member.size, message.changes, problem=problem, secret_keys=message.secret_keys)
        if problem is not None:
            raise DamagedError(problem)
    raise DamagedError("the file was cut off")


def unpack(packed: bytes) -> Sequence[pb.VersionChanges]:
    """Unpack one block by itself; DamagedError where it is not what was written."""
    member = next(_members(io.BytesIO(packed)), _Member(0, problem="the file was cut off"))
    message, problem = _parse(member)
    if problem is not None or member.size != len(packed):
        raise DamagedError(problem or "the file is another one by now")
    return message.changes


@dataclass(slots=True)
class _Member:
    """What was unpacked of one member, and what went wrong with it."""

    offset: int
    content: bytes = b""
    size: int = 0
    problem: str | None = None


def _members(file: Readable) -> Iterator[_Member]:
    """Unpack one member after the other, up to the first that is damaged."""
    offset, rest = 0, file.read(_READ_BYTES)
    while rest:
        member, packed = _Member(offset), [rest]
        unpacking, content, size = zlib.decompressobj(_GZIP), list[bytes](), 0
        try:
            while True:
                content.append(unpacking.decompress(packed[-1], BLOCK_LIMIT_BYTES))
                size += len(content[-1])
                if size >= BLOCK_LIMIT_BYTES or unpacking.unconsumed_tail:
                    member.problem = f"there is a block of more than {BLOCK_LIMIT_BYTES:,} bytes"
                if unpacking.eof or member.problem is not None:
                    break
                packed.append(file.read(_READ_BYTES))
                if not packed[-1]:
                    member.problem = "the file was cut off"
                    break
        except zlib.error:
            member.problem = "the file is damaged"
            content = _salvaged(b"".join(packed))
        member.content = b"".join(content)
        member.size = sum(map(len, packed)) - len(unpacking.unused_data)
        yield member
        if member.problem is not None:
            return
        offset += member.size
        rest = unpacking.unused_data or file.read(_READ_BYTES)


def _salvaged(packed: bytes) -> list[bytes]:
    """Unpack again what is damaged, in small steps: of a step that fails, there is nothing."""
    unpacking, content, size = zlib.decompressobj(_GZIP), list[bytes](), 0
    step = 1 + len(packed) // _SALVAGING_STEPS
    with suppress(zlib.error):
        for place in range(0, len(packed), step):
            content.append(unpacking.decompress(packed[place : place + step], BLOCK_LIMIT_BYTES))
            size += len(content[-1])
            if size >= BLOCK_LIMIT_BYTES:
                break
    return content


def _check_mark(member: _Member | None) -> None:
    start = _MARK_FIELD + _length(_MARK + _FORMAT) + _MARK
    if member is None or member.problem is not None or not member.content.startswith(start):
        raise NotABundleError("this is no bundle")
    if member.content != start + _FORMAT:
        raise NotABundleError("this bundle is of a later format: it takes a newer release to read it")


def _parse(member: _Member) -> tuple[pb.WatchKeyHistoryResponse, str | None]:
    """Read a member's message, or else as much of it as looks like one; say what is wrong with it."""
    try:
        return pb.WatchKeyHistoryResponse.FromString(member.content), member.problem
    except DecodeError:
        message = pb.WatchKeyHistoryResponse(changes=_readable(member.content))
        return message, member.problem or "the file is damaged"


def _readable(content: bytes) -> Iterator[pb.VersionChanges]:
    """Read parts as long as they look like some."""
    place = 0
    while content.startswith(_CHANGES_FIELD, place):
        length, shift, place = 0, 0, place + 1
        while place < len(content) and content[place] & _MORE:
            length, shift, place = length | (content[place] & ~_MORE) << shift, shift + 7, place + 1
        if place >= len(content):
            return
        length, place = length | content[place] << shift, place + 1
        if place + length > len(content):
            return
        try:
            yield pb.VersionChanges.FromString(content[place : place + length])
        except DecodeError:
            return
        place += length


def _length(encoded: bytes) -> bytes:
    """Encode how many bytes follow, as a varint."""
    rest, parts = len(encoded), bytearray()
    while rest >= _MORE:
        parts.append(rest & ~_MORE & 0xFF | _MORE)
        rest >>= 7
    parts.append(rest)
    return bytes(parts)
