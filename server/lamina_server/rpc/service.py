"""What each method of ConfigService does: call, encode.

Parsed requests come in, which their callers may make, and bytes go out. Errors are raised as
ServerError; handlers.py turns them into statuses.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from lamina_server.access.live import LiveAccess, read_access
from lamina_server.audit.audit import CallAudit
from lamina_server.cache.heads import Heads
from lamina_server.commits.clock import is_future
from lamina_server.commits.committer import Committer
from lamina_server.commits.outcome import Outcome
from lamina_server.domain.access import Access, Caller, of_principal
from lamina_server.domain.commands import Command, CommitCommand, ForkCommand
from lamina_server.domain.errors import RequestIdReusedError, ServerError, UnavailableError
from lamina_server.domain.record import record
from lamina_server.domain.records import Reply, RequestKey
from lamina_server.rpc import revealing
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.rates import Usage
from lamina_server.rpc.read import from_memory, from_store
from lamina_server.rpc.readiness import Readiness
from lamina_server.rpc.secrets import Secrets
from lamina_server.rpc.watch.admission import Admission
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.rpc.watch.watch import Watch
from lamina_server.settings import Settings
from lamina_server.store.contract import Reading, changed_keys_of
from lamina_server.store.readers import Readers
from lamina_server.store.silence import SilentError
from lamina_server.wire import encode, parse
from lamina_server.wire.requests import (
    CheckAccessRequest,
    DiffVersionsRequest,
    GetKeyHistoryRequest,
    GetVersionRequest,
    ListConfigsRequest,
    ListSecretKeysRequest,
    ListVersionsRequest,
    WatchRequest,
    WriteRequest,
)

_PARSED_ON_THE_LOOP_BYTES = 64 * 1024
"""A request up to this size is parsed in less time than a thread takes to wake; a larger one is parsed on a thread."""

WRITES = frozenset({"commit", "revert_config", "fork_config"})
"""The methods whose requests have an author when they are parsed."""

Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Raises a refusal if the caller may not make its request any more."""
R = TypeVar("R")


@record
class Call:
    """What is known of a call besides its request.

    caller  who makes it
    access  on which its caller was found
    peer    the connection's other end, as gRPC writes it
    audit   what tells of the call
    usage   what the caller has used of its limits
    """

    caller: Caller
    access: Access
    peer: str
    audit: CallAudit
    usage: Usage

    @property
    def holder(self) -> str:
        """Return in whose name answers are counted: the principal, or on an open server the machine that calls."""
        return self.caller.principal or self.peer.rpartition(":")[0]


class Service:
    """The methods of ConfigService, by their names in snake case."""

    def __init__(
        self,
        committer: Committer,
        heads: Heads,
        readers: Readers,
        access: LiveAccess,
        *,
        draining: Draining,
        readiness: Readiness,
        settings: Settings,
        secrets: Secrets,
        watches: WatchContext,
        now_us: Callable[[], int],
    ) -> None:
        self._committer = committer
        self._heads = heads
        self._readers = readers
        self._access = access
        self._draining = draining
        self._readiness = readiness
        self._settings = settings
        self._secrets = secrets
        self._watches = watches
        self._now_us = now_us
        self._admission = Admission(settings)
        self._turn = asyncio.Lock()
        self._long_lists: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def parse(self, method: str, data: bytes, caller: Caller) -> Any:
        """Parse a request of a method, by its name in snake case. Refuse a write first, if none is taken now."""
        if method in WRITES:
            self._draining.refuse()
            self._committer.refuse()
        function = getattr(parse, method)
        arguments = (data, caller.author, self._settings) if method in WRITES else (data, self._settings)
        if len(data) <= _PARSED_ON_THE_LOOP_BYTES:
            return function(*arguments)
        return await self._readers.run(lambda: function(*arguments))

    async def commit(self, request: WriteRequest, call: Call, confirm: Confirm) -> bytes:
        """Write the next version of a config."""
        return await self._write(request, call, confirm)

    async def revert_config(self, request: WriteRequest, call: Call, confirm: Confirm) -> bytes:
        """Write a version with an older one's map."""
        return await self._write(request, call, confirm)

    async def fork_config(self, request: WriteRequest, call: Call, confirm: Confirm) -> bytes:
        """Write a new config's first version from another's."""
        return await self._write(request, call, confirm)

    async def get_version(self, request: GetVersionRequest, call: Call) -> bytes:
        """Read a map as it was."""
        parts = await from_memory.get_version(self._heads, self._readers, request, self._settings.page_limit_bytes)
        if parts is None:
            parts = [await self._read(from_store.get_version, request, request.config)]
        page = await self._secrets.revealed(parts, revealing.version, request.config, call.caller, call.audit)
        return page if request.time_us is None or request.page.resume else page + await self._future(request.config)

    async def list_versions(self, request: ListVersionsRequest, _: Call) -> bytes:
        """Read the log."""
        return await self._read(from_store.list_versions, request, request.config)

    async def diff_versions(self, request: DiffVersionsRequest, call: Call) -> bytes:
        """Compare two versions."""
        answer = partial(from_store.diff_versions, same=self._secrets.sealer.same)
        page = await self._read(answer, request, request.config)
        return await self._secrets.revealed([page], revealing.differences, request.config, call.caller, call.audit)

    async def get_key_history(self, request: GetKeyHistoryRequest, call: Call) -> bytes:
        """Read every change of a key."""
        page = await self._read(from_store.key_history, request, request.config)
        return await self._secrets.revealed([page], revealing.key_history, request.config, call.caller, call.audit)

    async def list_configs(self, request: ListConfigsRequest, call: Call) -> bytes:
        """List configs.

        A page that passes over many configs, which its caller may not read, must not end before it is full: that would
        tell of them. So it takes turns with the others of its kind, and each caller has one of them at a time.
        """
        page = from_store.ConfigsPage(request, self._settings.page_limit_bytes)
        encoded = await self._readers.read(page.read)
        if encoded is None:
            async with self._long_lists.setdefault(call.holder, asyncio.Lock()):
                while encoded is None:
                    async with self._turn:
                        encoded = await self._readers.read(page.read)
        await self._heads.wait_until_current(None)
        return encoded

    async def list_secret_keys(self, request: ListSecretKeysRequest, _: Call) -> bytes:
        """List the data keys of all secrets, as they are kept."""
        return await self._read(from_store.list_secret_keys, request, request.config)

    async def get_server_info(self, _: None, call: Call) -> bytes:
        """Return the release, the author that the server knows the caller by, and why it takes no commits."""
        not_ready = "the server is stopping" if self._draining.begun else self._readiness.not_ready
        return encode.server_info(release(), call.caller.author, not_ready)

    async def who_am_i(self, _: None, call: Call) -> bytes:
        """Return the caller's principal, groups and grants."""
        access, caller = self._access.current, call.caller
        if self._access.is_open:
            return encode.who_am_i(caller, (), (), is_open=True)
        return encode.who_am_i(caller, access.groups_of(caller), access.grants_of(caller), is_open=False)

    async def check_access(self, request: CheckAccessRequest, _: Call) -> bytes:
        """Return what a principal may do with a config; on an open server, what it could do if that were closed."""
        access = await self._readers.read(read_access) if self._access.is_open else self._access.current
        caller = of_principal(request.principal, request.groups)
        return encode.check_access(access.rights(caller, request.config), access.grants_on(caller, request.config))

    async def watch_key_history(self, request: WatchRequest, call: Call, send: Send, end: ExitStack) -> None:
        """Follow a config until the caller leaves or the server stops. `end` is closed when the call is over."""
        self._draining.refuse()
        end.enter_context(self._admission.admit(call.peer))
        end.enter_context(call.usage.watch())
        with self._watches.feed.subscribe(request.config, request.wanted) as subscriber:
            reveal = self._secrets.of_watch(request.config, call.caller, call.audit)
            await Watch(request, self._watches, subscriber, send, end, reveal=reveal, usage=call.usage).run()

    async def _write(self, request: WriteRequest, call: Call, confirm: Confirm) -> bytes:
        self._draining.refuse()
        self._committer.refuse()
        parsed, request = request, await self._sealed(request, call)
        if request.validate_only:
            call.audit.compare(*_compared_by(parsed))
            return await self._preview(request.command, confirm)
        await confirm()
        key = RequestKey(call.caller.principal, request.request_id, request.digest)
        call.audit.write(*_written_by(request.command), request.request_id)
        outcome = await self._submit(key, request, parsed)
        reply = outcome.reply
        call.audit.written(reply.version.number if reply.version else 0, created=reply.created)
        header = outcome.header or await self._header(reply)
        encoded = encode.commit_response(reply, header, self._changes(request, reply))
        kind = revealing.commit_response
        encoded = await self._secrets.revealed([encoded], kind, reply.config, call.caller, call.audit)
        try:
            await confirm()
        except ServerError:  # it is written all the same, and its caller hears of that, and of nothing else
            return encode.commit_response(reply, header)
        return encoded

    async def _preview(self, command: Command, confirm: Confirm) -> bytes:
        preview = await self._readers.run(lambda: self._committer.preview(command))
        await confirm()
        reply, keys = preview.reply, preview.changed_keys
        header = encode.version(reply.version, keys) if reply.version else encode.empty_map(reply.config)
        return encode.commit_response(reply, header)

    async def _sealed(self, request: WriteRequest, call: Call) -> WriteRequest:
        try:
            return await self._secrets.sealed(request, call.caller)
        except SilentError:
            self._committer.refuse()  # in the words of a commit
            raise

    async def _submit(self, key: RequestKey, request: WriteRequest, parsed: WriteRequest) -> Outcome:
        """Carry out a request once. A retry after a rotation has the digest of before: then that one is looked up."""
        try:
            return await self._committer.submit(key, request.command)
        except RequestIdReusedError:
            async for digest in self._secrets.other_digests(parsed):
                if digest == key.digest:
                    continue
                with suppress(RequestIdReusedError):
                    return await self._committer.submit(replace(key, digest=digest), request.command)
            raise

    async def _future(self, config: str) -> bytes:
        """Encode when the head was committed, if that is later than now: then versions are not what times say."""
        head = await self._readers.read(lambda reading: reading.head(config))
        is_ahead = head is not None and is_future(head.commit_time_us, self._now_us())
        return encode.future_head_time(head.commit_time_us) if head and is_ahead else b""

    async def _header(self, reply: Reply) -> bytes:
        """Encode the header of a version that this call did not create."""
        if reply.version is None:
            return encode.empty_map(reply.config)
        head = self._heads.peek(reply.config)
        if head is not None and head.version_at(reply.version.number) == reply.version:
            return head.header_at(reply.version.number) or b""
        try:
            keys = await self._readers.read(partial(changed_keys_of, version=reply.version))
        except UnavailableError as error:  # which says that nothing was written, as is true of a read
            text = f"version {reply.version.number} was written, but cannot be read now"
            raise UnavailableError(error.reason, text) from error
        return encode.version(reply.version, keys)

    def _changes(self, request: WriteRequest, reply: Reply) -> Mapping[str, bytes | None] | None:
        """Return what turns the map at a commit's base into its version's, if that was asked for and is in memory."""
        if not request.changes_limit_bytes or not isinstance(request.command, CommitCommand) or reply.version is None:
            return None
        base, number = request.command.base_version, reply.version.number
        head = self._heads.peek(reply.config)
        if base is None or head is None or head.version_at(number) != reply.version:
            return None
        return head.changes_between(base, number, limit_bytes=request.changes_limit_bytes)

    async def _read(self, answer: Callable[[Reading, R, int], bytes], request: R, config: str) -> bytes:
        """Return a page about a config from the store."""
        limit_bytes = self._settings.page_limit_bytes
        page = await self._readers.read(lambda reading: answer(reading, request, limit_bytes))
        await self._heads.wait_until_current(config)
        return page


def _written_by(command: Command) -> tuple[str, list[str]]:
    """Return the config that a command writes to, and the keys that it names."""
    if isinstance(command, ForkCommand):
        return command.target, []
    return command.config, [change.key for change in command.changes] if isinstance(command, CommitCommand) else []


def _compared_by(request: WriteRequest) -> tuple[str, list[str]]:
    """Return the config that a request writes to, and the secrets whose contents it gives."""
    config, _ = _written_by(request.command)
    return config, [key for key, content in request.secrets.items() if content is not None]


@cache
def release() -> str:
    """Return this package's version. Read once, and late: its metadata is a file, and slow to import."""
    from importlib.metadata import version  # noqa: PLC0415

    return version("lamina")
