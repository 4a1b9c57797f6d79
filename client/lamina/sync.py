"""The client for threads: connect, Client and Config. aio.py is the same for asyncio, name by name.

A verb here picks its flow and runs it; the flows are in `_flows/reads.py` and `_flows/writes.py`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self

from lamina._credentials import Token
from lamina._flows import reads, writes
from lamina._flows.effects import Invoke
from lamina._flows.points import Point
from lamina._grpc.connection import DEFAULT_TIMEOUT_SECONDS, connection
from lamina._grpc.sync.live import Live, LiveRegistry
from lamina._grpc.sync.reader import Reader
from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.walk import walk_chain
from lamina._grpc.sync.watch import Watch
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


@public("lamina")
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
    """Make a client. Nothing is sent before its first verb.

    `target` is "host:port", several of them with commas between, or "unix:path"; else localhost:7440. `tls` None is
    plaintext for this machine and TLS with the system's roots for any other; False is plaintext, True or a `lamina.TLS`
    is TLS. `token` is text, a `lamina.TokenFile`, or a function that returns the token, which is called before each
    call of the server. `timeout` is in seconds, for each verb with all its retries and pages. `author` is the author of
    commits on an open server: by default this system's user, unless there is a token or a client certificate.
    `cache_dir` is the folder of the last-known-good files, from which `live` begins while no server can be reached: by
    default `lamina` in the user's cache directory; "" turns them off. They hold secrets without their contents; with
    `cache_secrets`, a key of 32 bytes or a function that returns it, also the contents, encrypted (this needs the extra
    `lamina[secrets]`). `tracer_provider` is OpenTelemetry's, and makes a span of each call, whose trace the server
    continues.

    Missing arguments are read from LAMINA_TARGET, LAMINA_TOKEN or LAMINA_TOKEN_FILE, LAMINA_TLS_CA, LAMINA_TLS_CERT and
    LAMINA_TLS_KEY or LAMINA_PLAINTEXT, LAMINA_TIMEOUT, LAMINA_AUTHOR and LAMINA_CACHE_DIR.
    """
    way = connection(target, token=token, tls=tls, timeout=timeout, author=author, tracer_provider=tracer_provider)
    return Client(Shell(way), cache_of(cache_dir, (address.target for address in way.addresses), cache_secrets))


@public("lamina")
class Client(Uncopyable):
    """A client of one server, or of several over one database. Threads may share it, and it survives a fork."""

    _instead = "connect again where it is needed"

    def __init__(self, shell: Shell, cache: Cache) -> None:
        self._shell = shell
        self._lives = LiveRegistry(shell, cache)

    @property
    def target(self) -> str:
        """The address or addresses that it was made with."""
        return self._shell.target

    def config(self, name: str, *, create: bool = False) -> "Config":
        """Read a config's head as a draft to work on.

        NotFoundError if there is none. With `create` it is a draft over version 0, the empty map: a config begins with
        its first key, so the first commit that sets one makes it, and a commit without changes makes nothing.
        """
        return Config(self._shell, self._shell.run(reads.open_config(self._shell.session, name, create=create)))

    def live(self, name: str, *, default: Mapping[str, Value] | None = None) -> "Live":
        """Follow a config: a mapping that always shows its newest version, whole; NotFoundError if there is none.

        If no server can be reached, it begins from the last-known-good file in `cache_dir`, else from `default`, else
        it raises UnavailableError. Servers that refuse are tried twice before that; a server that says nothing has the
        client's `timeout`. If there is no such config, it begins from `default`, if one is given. Its `state` is
        OFFLINE then, which is logged, and it moves to the head when there is a server and the config. Any other
        error is raised.

        All lives of one config share one stream. `close` it, or the client, to end that.
        """
        return self._lives.open(name, default)

    def server_info(self) -> ServerInfo:
        """Return the release of the server that answers, and the author that it has for this client."""
        return self._shell.run(reads.server_info(self._shell.session))

    def whoami(self) -> WhoAmI:
        """Return the principal that the server knows this client as, its groups and its grants."""
        return self._shell.run(reads.whoami(self._shell.session))

    def check_access(self, principal: str, config: str, *, groups: Iterable[str] = ()) -> AccessCheck:
        """Return what a principal may do with a config, and by which grants. Only for admins of that config.

        `groups` are those that an identity provider would claim for it, such as "group:platform"; those that are listed
        in `_lamina/access` are known.
        """
        return self._shell.run(reads.check_access(self._shell.session, principal, config, groups))

    def configs(self, prefix: str = "") -> Iterator[ConfigInfo]:
        """List the configs whose names begin with `prefix`, by name, reading page by page."""
        return self._shell.iterate(reads.configs(self._shell.session, prefix))

    def close(self) -> None:
        """End its watches and lives, and close its connections."""
        self._lives.close()
        self._shell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.target!r}>"


@public("lamina")
class Config(Reader, Draft):
    """A config's draft with the verbs to commit it, to look at its past, and to follow its future.

    For one thread at a time, like a database session; another `client.config()` shares nothing with it.
    """

    __slots__ = ("_shell",)

    def __init__(self, shell: Shell, base: Entries) -> None:
        super().__init__(base)
        self._shell = shell

    def commit(self, message: str = "", *, merge: bool = True, dry_run: bool = False) -> Version:
        """Write the changes as the next version, once, and return its header.

        Others' changes since `version` are merged, key by key; ConflictError, with the draft as it was, if they changed
        the same keys, or keys that you read and changed. `merge=False` demands that nobody changed anything; `dry_run`
        checks and merges without writing, and returns a header without number and hash. A draft without changes returns
        the head's header. Afterwards the draft stands at the new version, with others' changes.

        After an UnavailableError it is not known whether the version was written: commit again to find out.
        """
        flow = writes.commit(self._shell.session, self._stage, message, merge=merge, dry_run=dry_run)
        return self._shell.run(flow)

    def refresh(self, *, resolve: Literal["theirs", "yours"] | Callable[[Conflict], Any] | None = None) -> None:
        """Move the draft to the head, and keep its changes.

        ConflictError, with the draft as it was, for keys that others changed too, unless `resolve` settles them: with
        "theirs", "yours", or a function of a Conflict that returns the value to take, or MISSING to delete the key.
        """
        self._shell.run(writes.refresh(self._shell.session, self._stage, resolve))

    @contextmanager
    def edit(self, message: str = "", *, merge: bool = True) -> Generator[Self, None, None]:
        """Refresh, give this config to a `with` block, and commit what it did; an exception in the block discards it.

        InvalidError if there are changes already.
        """
        self._shell.run(writes.begin_edit(self._shell.session, self._stage, message))
        try:
            yield self
        except BaseException:
            self.discard()
            raise
        flow = writes.commit(self._shell.session, self._stage, message, merge=merge, dry_run=False)
        self._shell.run(flow)

    def transact(self, function: Callable[[Self], Any], message: str = "") -> Version:
        """Run a function on this config as it is at the head, and commit; again on each new head until that succeeds.

        If others have changed anything that the function read, it runs again on the new head, so that its decision
        always rests on current values. It may run many times, so it should do nothing but change the draft that it is
        given. What it raises ends the transaction and discards its changes. If it changes nothing, nothing is written.

        InvalidError if there are changes already, or if the function itself commits or refreshes the draft. After an
        UnavailableError with a `request_id` it is not known whether the version was written: the draft is as the
        function left it, and `commit` finds out. Without a `request_id` nothing was sent.
        """
        function = checked(function, "transact")
        flow = writes.transact(self._shell.session, self._stage, Invoke(function, self), message)
        return self._shell.run(flow)

    def revert(self, *keys: str, to: Point, message: str = "") -> Version:
        """Write a new version in which these keys, or without any the whole map, are as they were at another one.

        InvalidError if there are changes; KeyError for a key that neither version has; ConflictError if others have
        changed these keys, or without keys anything, since `version`.
        """
        return self._shell.run(writes.revert(self._shell.session, self._stage, keys, to, message))

    def fork(self, name: str, *, at: Point | None = None, message: str = "") -> "Config":
        """Make a new config that begins as this one was at a version or time, by default at `version`; return it.

        ExistsError if there is one of that name. Uncommitted changes stay behind.
        """
        flow = writes.fork(self._shell.session, self._stage, name, at, message)
        return Config(self._shell, self._shell.run(flow))

    def verify(self) -> Version:
        """Walk the hash chain from version 1 to the version that this config stands on, and return its header.

        Computes every hash from what the server sends, each version's from its parent's, and compares the result with
        what this config shows, staged changes aside. If the returned hash equals one that was noted elsewhere, the
        whole past is proved. DataLossError names the first version that is not as it was committed. It reads all
        changes since version 1, so `timeout` counts for each message instead of the whole.

        Of a config that was compacted, it begins at the oldest version that can be read, and logs a warning that says
        so. That version is taken as the server shows it; `lamina-server verify` proves the whole chain.
        """
        return walk_chain(self._shell, self._stage.base)

    def _base(self) -> Entries:
        return self._stage.base
