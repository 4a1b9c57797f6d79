"""A Lamina server in memory, for the tests of your own code; it knows the SDK, and how to start a server.

    with lamina.testing.server() as server:
        cfg = server.connect().config("payments/prod", create=True)

A closed server knows only those to whom the test gives a token:

    with lamina.testing.server(closed=True) as server:
        deployer = server.token("deployer", role="writer", on="payments/**")
        cfg = server.connect(token=deployer).config("payments/prod", create=True)

It is the real server behind real gRPC, in this process, ready in milliseconds, and it needs the extra `lamina[server]`.
With pytest there are the fixtures `lamina_server` and `lamina_config`; each test has its own server.
"""

import sys
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lamina import _environment
from lamina._live.cache import CacheDir
from lamina._mapping.values import Value
from lamina.records import Version
from lamina.sync import Client, connect

if TYPE_CHECKING:
    from lamina_server.testing.embedded import EmbeddedServer

__all__ = ["Server", "server"]

_OURS: Final = ("lamina", "lamina_protos", "lamina_server")
_ACCESS: Final = "_lamina/access"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Server:
    """A server that a test controls, from `lamina.testing.server()` or the fixture `lamina_server`."""

    def __init__(self, embedded: "EmbeddedServer", cache_dir: CacheDir = "") -> None:
        self._embedded = embedded
        self._cache_dir = cache_dir
        self._clients = ExitStack()
        self._own: Client | None = None

    @property
    def target(self) -> str:
        """The address for `lamina.connect`, `lamina.aio.connect` or LAMINA_TARGET: "127.0.0.1:port"."""
        return self._embedded.target

    @property
    def calls(self) -> Counter[str]:
        """The number of received calls of each method, with retries: `server.calls["Commit"]`."""
        return self._embedded.failures.calls

    @property
    def now(self) -> datetime:
        """The time of the server's clock, which dates the next version."""
        return _EPOCH + timedelta(microseconds=self._embedded.clock.now_us())

    def connect(self, **options: Any) -> Client:
        """Connect a client, with the options of `lamina.connect`; it is closed with the server.

        No option is completed from the environment, whose variables are for other servers.
        """
        options.setdefault("cache_dir", self._cache_dir)
        with _environment.ignored():
            client = connect(self.target, **options)
        return self._clients.enter_context(client)

    def set(self, config: str, values: Mapping[str, Value], message: str = "") -> Version:
        """Commit these keys of a config as another client, and leave its other keys; create the config if needed."""
        theirs = self._admin().config(config, create=True)
        theirs.update(values)
        return theirs.commit(message)

    def token(self, name: str, *, role: str, on: str, reveal: bool = False, expires: datetime | None = None) -> str:
        """Make a token for the principal `token:NAME`, give it a role, and return its text, for `connect(token=)`.

        `role` is "reader", "writer" or "admin", and `on` a pattern of configs, such as "payments/**". With `reveal` it
        may see secrets. `expires` is by the server's clock, which `advance` moves. For a second grant, call this again
        with the same name: the principal has both grants then, and two tokens. ValueError if the server is open.
        """
        text, changes = self._new_token(name, expires)
        changes[f"grants/token:{name} {on}"] = {"role": role, "reveal": reveal}
        self._change_access(changes, f"lamina.testing gives a token to {name}")
        return text

    def revoke(self, name: str) -> None:
        """Revoke the tokens of a principal and its grants; its calls under way end. KeyError if there is none."""
        held: Any = self._admin().config(_ACCESS).to_dict()
        grants = f"grants/token:{name} "
        gone = [key for key, value in held.items() if key.startswith("tokens/") and value["name"] == name]
        if not gone:
            raise KeyError(name)
        self._change_access(
            dict.fromkeys([*gone, *(key for key in held if key.startswith(grants))]), f"lamina.testing revokes {name}"
        )

    def fail_next(
        self,
        method: str | None = None,
        *,
        reason: str | None = None,
        code: str | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Make the next calls fail, `times` times, of one method or of any.

        `method` is one of the wire's: "Commit", "RevertConfig", "ForkConfig", "GetVersion" (opening, refreshing and
        reading), "ListVersions", "DiffVersions", "GetKeyHistory", "WatchKeyHistory", "ListConfigs",
        "GetServerInfo".

        `reason` is a reason code, such as "DISK_FULL" or "NOT_ALLOWED"; without one, "STORE_UNAVAILABLE", which the
        SDK tries again until its `timeout`. `code` instead is a bare status such as "UNKNOWN", as from a proxy on the
        way. With `after`, the call is carried out first and its answer is lost: a write stays written.

        Several of these calls take effect one after the other; `recover` drops what is left of them. ValueError for
        a failure that no server has, such as a refusal of a commit that was written. For a conflict, `set` the key
        that your code changes.
        """
        self._embedded.failures.add(method, reason=reason, code=code, times=times, after=after)

    def recover(self) -> None:
        """Drop the failures that `fail_next` has asked for and that have not happened yet."""
        self._embedded.failures.clear()

    def disconnect(self) -> None:
        """Cut all connections now, with their calls and watches. All data stays."""
        with self.down():
            pass

    @contextmanager
    def down(self) -> Generator[None, None, None]:
        """Stop the server while the block lasts, cutting and refusing connections; then start it at the same address.

        Within another such block it is stopped already, and stays so until that block ends.
        """
        if self._embedded.is_down:
            yield
            return
        self._embedded.stop()
        try:
            yield
        finally:
            if self._embedded.is_running:  # unless it was closed in the meantime
                self._embedded.start()

    def advance(self, seconds: float) -> None:
        """Advance the server's clock, which dates later commits. Nothing sleeps, and nothing times out."""
        self._embedded.clock.advance(seconds)

    def close(self) -> None:
        """End the server, and the clients that it connected. In a forked child, do nothing."""
        # At Python's exit, the program has forgotten to close it: its thread is stopped by then and would never answer.
        if sys.is_finalizing() or not self._embedded.is_running:
            return
        self._clients.close()
        self._embedded.close()

    def _new_token(self, name: str, expires: datetime | None) -> tuple[str, dict[str, Any]]:
        if not self._embedded.admin_token:
            raise ValueError("this server is open, so it has no tokens: lamina.testing.server(closed=True)")
        token_id, text, sha256 = self._embedded.make_token()
        value = {"name": name, "sha256": sha256.hex()}
        return text, {f"tokens/{token_id}": value if expires is None else {**value, "expires": expires.isoformat()}}

    def _change_access(self, changes: Mapping[str, Any], message: str) -> None:
        """Commit to `_lamina/access`, where None deletes a key, and wait until it holds."""
        access = self._admin().config(_ACCESS)
        for key, value in changes.items():
            if value is None:
                del access[key]
            else:
                access[key] = value
        self._embedded.wait_for_access(access.commit(message).number)

    def _admin(self) -> Client:
        """Return the client that carries out what the test wishes."""
        if self._own is None:
            token = self._embedded.admin_token
            self._own = self.connect(token=token) if token else self.connect(author="lamina.testing")
        return self._own

    def __repr__(self) -> str:
        return f"<lamina.testing.Server {self.target!r}>"


@contextmanager
def server(*, closed: bool = False, cache_dir: CacheDir = "") -> Generator[Server, None, None]:
    """Run a server in memory, empty and on a free port, while the block lasts.

    A `closed` one refuses callers without a token, and `Server.token` makes one. Clients that it connects keep their
    last-known-good files in `cache_dir`, by default none: some later test's server may have the same port.
    ModuleNotFoundError if the extra `lamina[server]` is not installed.
    """
    embedded = _start(is_closed=closed)
    running = Server(embedded, cache_dir)
    try:
        yield running
    finally:
        running.close()


def _start(*, is_closed: bool) -> "EmbeddedServer":
    # Imported here, because the server is an extra, and its import takes longer than its start.
    try:
        from lamina_server.testing.embedded import EmbeddedServer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in _OURS:
            raise
        text = f"lamina.testing needs the server's extra (there is no {error.name}): pip install 'lamina[server]'"
        raise ModuleNotFoundError(text, name=error.name) from error
    embedded = EmbeddedServer(is_closed=is_closed)
    try:
        embedded.start()
    except BaseException:
        embedded.close()
        raise
    return embedded
