"""The client for asyncio: connect, Client and Config. sync.py is the same for threads, name by name.

The verbs that call a server are awaited. Reading a config, staging changes, `changes`, `discard` and `origin` are
plain. `configs`, `log`, `history` and a watch are for `async for`; a client, `edit` and a watch for `async with`.
The arguments, results and errors of each verb are described at length in sync.py.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

from lamina._credentials import Token
from lamina._flows import reads, writes
from lamina._flows.effects import Invoke
from lamina._flows.points import Point
from lamina._grpc.aio.live import Live, LiveRegistry
from lamina._grpc.aio.reader import Reader
from lamina._grpc.aio.shell import Shell
from lamina._grpc.aio.walk import walk_chain
from lamina._grpc.aio.watch import Watch
from lamina._grpc.connection import DEFAULT_TIMEOUT_SECONDS, connection
from lamina._grpc.tls import TLS
from lamina._grpc.tracing import TracerProvider
from lamina._live.cache import Cache, CacheDir, cache_of
from lamina._live.vault import CacheSecrets
from lamina._mapping.draft import Draft
from lamina._mapping.entries import Entries
from lamina._mapping.values import Value
from lamina._runtime.arguments import checked
from lamina._runtime.copies import Uncopyable
from lamina._runtime.public import public
from lamina.records import AccessCheck, ConfigInfo, Conflict, ServerInfo, Version, WhoAmI

__all__ = ["Client", "Config", "Live", "Watch", "connect"]


@public("lamina.aio")
def connect(
    target: str | None = None,
    *,
    token: Token | None = None,
    tls: TLS | bool | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    author: str | None = None,
    cache_dir: CacheDir | None = None,
    cache_secrets: CacheSecrets | None = None,
    tracer_provider: TracerProvider | None = None,
) -> "Client":
    """Make a client, as `lamina.connect` does. Nothing is sent before its first verb.

    async with lamina.aio.connect("localhost:7440", author="ada") as client:
        cfg = await client.config("payments/prod")

    The function of `token=` may be a coroutine function. A plain one runs in the event loop, and should not wait.
    """
    way = connection(
        target, token=token, tls=tls, timeout=timeout, author=author, tracer_provider=tracer_provider, awaits=True
    )
    return Client(Shell(way), cache_of(cache_dir, (address.target for address in way.addresses), cache_secrets))


@public("lamina.aio")
class Client(Uncopyable):
    """As `lamina.Client`. Tasks may share it; in another event loop, or after a fork, it connects again."""

    _instead = "connect again where it is needed"

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._lives = LiveRegistry(shell, cache)

    @property
    def target(self) -> str:
        """The address or addresses that it was made with."""
        return self._shell.target

    async def config(self, name: str, *, create: bool = False) -> "Config":
        """Read a config's head as a draft to work on.

        NotFoundError if there is none. With `create` it is a draft over version 0, the empty map: a config begins with
        its first key, so the first commit that sets one makes it, and a commit without changes makes nothing.
        """
        return Config(self._shell, await self._shell.run(reads.open_config(self._shell.session, name, create=create)))

    async def live(self, name: str, *, default: Mapping[str, Value] | None = None) -> "Live":
        """Follow a config: a mapping that always shows its newest version, whole; NotFoundError if there is none.

        If no server can be reached within `timeout`, it begins from the file in `cache_dir`, else from `default`.
        All lives of one config share one stream. `close` it, or the client, to end that. When its event loop ends, what
        it shows stays, its state is STALE, and `error` says so.
        """
        return await self._lives.open(name, default)

    async def server_info(self) -> ServerInfo:
        """Return the release of the server that answers, and the author that it has for this client."""
        return await self._shell.run(reads.server_info(self._shell.session))

    async def whoami(self) -> WhoAmI:
        """Return the principal that the server knows this client as, its groups and its grants."""
        return await self._shell.run(reads.whoami(self._shell.session))

    async def check_access(self, principal: str, config: str, *, groups: Iterable[str] = ()) -> AccessCheck:
        """Return what a principal may do with a config, and by which grants. Only for admins of that config.

        `groups` are those that an identity provider would claim for it, such as "group:platform"; those that are listed
        in `_lamina/access` are known.
        """
        return await self._shell.run(reads.check_access(self._shell.session, principal, config, groups))

    def configs(self, prefix: str = "") -> AsyncIterator[ConfigInfo]:
        """List the configs whose names begin with `prefix`, by name, reading page by page."""
        return self._shell.iterate(reads.configs(self._shell.session, prefix))

    async def close(self) -> None:
        """End its watches and lives, and close its connections."""
        await self._lives.close()
        await self._shell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {self.target!r}>"


@public("lamina.aio")
class Config(Reader, Draft):
    """As `lamina.Config`: a config's draft with its verbs. For one task at a time."""

    __slots__ = ("_shell",)

    def __init__(self, shell: Shell, base: Entries) -> None:
        super().__init__(base)
        self._shell = shell

    async def commit(self, message: str = "", *, merge: bool = True, dry_run: bool = False) -> Version:
        """Write the changes as the next version, once, and return its header.

        Others' changes since `version` are merged; ConflictError, with the draft as it was, if they changed the same
        keys, or keys that you read and changed. `merge=False` demands that nobody changed anything; `dry_run` checks
        and merges without writing, and returns a header without number and hash. After an UnavailableError it is not
        known whether the version was written: commit again to find out.
        """
        flow = writes.commit(self._shell.session, self._stage, message, merge=merge, dry_run=dry_run)
        return await self._shell.run(flow)

    async def refresh(self, *, resolve: Literal["theirs", "yours"] | Callable[[Conflict], Any] | None = None) -> None:
        """Move the draft to the head, and keep its changes.

        ConflictError for keys that others changed too, unless `resolve` settles them: with "theirs", "yours", or a
        plain function of a Conflict that returns the value to take, or MISSING to delete the key.
        """
        await self._shell.run(writes.refresh(self._shell.session, self._stage, resolve))

    @asynccontextmanager
    async def edit(self, message: str = "", *, merge: bool = True) -> AsyncGenerator[Self, None]:
        """Refresh, give this config to an `async with` block, and commit; an exception in the block discards.

        InvalidError if there are changes already; at the block's end what `commit` raises.
        """
        await self._shell.run(writes.begin_edit(self._shell.session, self._stage, message))
        try:
            yield self
        except BaseException:
            self.discard()
            raise
        flow = writes.commit(self._shell.session, self._stage, message, merge=merge, dry_run=False)
        await self._shell.run(flow)

    async def transact(self, function: Callable[[Self], Any], message: str = "") -> Version:
        """Run a function, or coroutine function, on the head, and commit; again on each new head until it succeeds.

        It may run many times, so it should do nothing but change the draft that it is given. What it raises ends it,
        and discards its changes. InvalidError if there are changes already. After an UnavailableError with a
        `request_id`, `commit` finds out whether the version was written.
        """
        function = checked(function, "transact", awaits=True)
        flow = writes.transact(self._shell.session, self._stage, Invoke(function, self), message)
        return await self._shell.run(flow)

    async def revert(self, *keys: str, to: Point, message: str = "") -> Version:
        """Write a new version in which these keys, or without any the whole map, are as they were at another one.

        InvalidError if there are changes; KeyError for a key that neither version has; ConflictError if others have
        changed these keys, or without keys anything, since `version`.
        """
        return await self._shell.run(writes.revert(self._shell.session, self._stage, keys, to, message))

    async def fork(self, name: str, *, at: Point | None = None, message: str = "") -> "Config":
        """Make a new config that begins as this one was at a version or time, by default at `version`; return it.

        ExistsError if there is one of that name. Uncommitted changes stay behind.
        """
        flow = writes.fork(self._shell.session, self._stage, name, at, message)
        return Config(self._shell, await self._shell.run(flow))

    async def verify(self) -> Version:
        """Walk the hash chain from version 1 to the version that this config stands on, and return its header.

        DataLossError names the first version that is not as it was committed. `timeout` counts for each message.
        """
        return await walk_chain(self._shell, self._stage.base)

    def _base(self) -> Entries:
        return self._stage.base
