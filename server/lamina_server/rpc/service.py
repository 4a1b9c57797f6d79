"""What each method of ConfigService does: convert, call, convert.

Bytes come in and bytes go out. Errors are raised as ServerError; how a caller learns of
them is the business of handlers.py.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

from lamina_server.commits.committer import Committer
from lamina_server.domain.planning import Author
from lamina_server.domain.records import Reply, RequestKey, Version
from lamina_server.rpc import callers
from lamina_server.rpc.read import from_memory, from_store
from lamina_server.rpc.watch.admission import Admission
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.rpc.watch.watch import Watch
from lamina_server.settings import Settings
from lamina_server.store.contract import Reading
from lamina_server.wire import encode, parse
from lamina_server.wire.requests import WriteRequest

_PARSED_ON_THE_LOOP_BYTES = 64 * 1024
"""A request up to this size is parsed in less time than a thread takes to wake; a larger one holds nobody up."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call besides its request, where it is asked for.

    peer  the connection's other end, as gRPC writes it
    """

    metadata: Callable[[], callers.Metadata]
    peer: Callable[[], str]


class Service:
    """The methods of ConfigService, by their names in snake case."""

    def __init__(self, committer: Committer, rooms: WatchContext) -> None:
        self._committer = committer
        self._rooms = rooms
        self._heads = rooms.heads
        self._readers = rooms.readers
        self._draining = rooms.draining
        self._settings = rooms.settings
        self._admission = Admission(rooms.settings)

    async def commit(self, data: bytes, call: Call) -> bytes:
        """Write the next version of a config."""
        return await self._write(parse.commit, data, call)

    async def revert_config(self, data: bytes, call: Call) -> bytes:
        """Write a version with an older one's map."""
        return await self._write(parse.revert_config, data, call)

    async def fork_config(self, data: bytes, call: Call) -> bytes:
        """Write a new config's first version from another's."""
        return await self._write(parse.fork_config, data, call)

    async def get_version(self, data: bytes, _: Call) -> bytes:
        """Read a map as it was."""
        request = await self._parse(lambda: parse.get_version(data, self._settings), data)
        limit_bytes = self._settings.page_limit_bytes
        page = await from_memory.get_version(self._heads, self._readers, request, limit_bytes)
        if page is None:
            page = await self._readers.read(lambda reading: from_store.get_version(reading, request, limit_bytes))
            await self._heads.settled(request.config)
        return page

    async def list_versions(self, data: bytes, _: Call) -> bytes:
        """Read the log."""
        return await self._read(parse.list_versions, from_store.list_versions, data)

    async def diff_versions(self, data: bytes, _: Call) -> bytes:
        """Compare two versions."""
        return await self._read(parse.diff_versions, from_store.diff_versions, data)

    async def get_key_history(self, data: bytes, _: Call) -> bytes:
        """Read every change of a key."""
        return await self._read(parse.get_key_history, from_store.key_history, data)

    async def list_configs(self, data: bytes, _: Call) -> bytes:
        """List configs."""
        return await self._read(parse.list_configs, from_store.list_configs, data)

    async def get_server_info(self, data: bytes, call: Call) -> bytes:
        """Tell the release, and as whom the caller is known."""
        await self._parse(lambda: parse.get_server_info(data, self._settings), data)
        return encode.server_info(_release(), callers.author(call.metadata()))

    async def watch_key_history(self, data: bytes, call: Call, send: Send, end: ExitStack) -> None:
        """Follow a config until the caller leaves or the server stops. `end` is closed when the call is over."""
        self._draining.refuse()
        request = await self._parse(lambda: parse.watch(data, self._settings), data)
        end.enter_context(self._admission.admit(call.peer()))
        with self._rooms.feed.follow(request.config, request.wanted) as follower:
            await Watch(request, self._rooms, follower, send, end).run()

    async def _write(self, parse: Callable[[bytes, Author, Settings], WriteRequest], data: bytes, call: Call) -> bytes:
        self._draining.refuse()
        author = callers.author(call.metadata())
        request = await self._parse(lambda: parse(data, author, self._settings), data)
        command = request.command
        if request.validate_only:
            preview = await self._readers.run(lambda: self._committer.preview(command))
            reply, keys = preview.reply, preview.changed_keys
            header = encode.version(reply.version, keys) if reply.version else encode.empty_map(reply.config)
            return encode.commit_response(reply, header)
        key = RequestKey(callers.UNKNOWN_CALLER, request.request_id, request.digest)
        outcome = await self._committer.submit(key, command)
        return encode.commit_response(outcome.reply, outcome.header or await self._header(outcome.reply))

    async def _header(self, reply: Reply) -> bytes:
        """Encode the header of a version of long ago: of a remembered reply, or of a head that stays."""
        if reply.version is None:
            return encode.empty_map(reply.config)
        head = self._heads.peek(reply.config)
        if head is not None and head.version_at(reply.version.number) == reply.version:
            return head.header_at(reply.version.number) or b""
        keys = await self._readers.read(partial(_read_changed_keys, version=reply.version))
        return encode.version(reply.version, keys)

    async def _read(
        self,
        parse: Callable[[bytes, Settings], R],
        answer: Callable[[Reading, R, int], bytes],
        data: bytes,
    ) -> bytes:
        request = await self._parse(lambda: parse(data, self._settings), data)
        limit_bytes = self._settings.page_limit_bytes
        page = await self._readers.read(lambda reading: answer(reading, request, limit_bytes))
        await self._heads.settled(getattr(request, "config", None))
        return page

    async def _parse(self, parse: Callable[[], T], data: bytes) -> T:
        if len(data) <= _PARSED_ON_THE_LOOP_BYTES:
            return parse()
        return await self._readers.run(parse)


@cache
def _release() -> str:
    """Return this package's version. Read once, and late: its metadata is a file, and slow to import."""
    from importlib.metadata import version  # noqa: PLC0415

    return version("lamina")


def _read_changed_keys(reading: Reading, version: Version) -> Sequence[str]:
    return reading.changed_keys(version.config, [version.number]).get(version.number, ())
