"""The composition root: the only file that knows all rooms, and the order in which they start and stop."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from lamina_server.access import token_file
from lamina_server.access.authentication import Authentication
from lamina_server.access.follower import AccessFollower
from lamina_server.access.issuers import Issuers
from lamina_server.access.live import LiveAccess
from lamina_server.access.token_file import TokenFileError
from lamina_server.audit.audit import Audit
from lamina_server.audit.file import AuditFile
from lamina_server.cache.heads import Heads
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.commits import admin
from lamina_server.commits.clock import system_now_us
from lamina_server.commits.committer import Committer
from lamina_server.commits.counting import OUTCOMES
from lamina_server.domain.access_checks import admins
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.domain.names import OWN_CONFIGS
from lamina_server.domain.planning import MapLimits
from lamina_server.feed.backfill import Backfill
from lamina_server.feed.feed import Feed
from lamina_server.feed.news import News
from lamina_server.gauges import Gauges
from lamina_server.metrics.lag import LoopLag
from lamina_server.metrics.recorder import Recorder, Unrecorded
from lamina_server.metrics.shared import Shared
from lamina_server.rpc import health, open_files, transport
from lamina_server.rpc.deadlines import Deadlines
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.guard import Guard
from lamina_server.rpc.handlers import SERVICE, OtherServices, ServiceHandler
from lamina_server.rpc.permissions import Permissions
from lamina_server.rpc.rates import Rates
from lamina_server.rpc.readiness import Readiness
from lamina_server.rpc.replies import ReplyBudget
from lamina_server.rpc.revocation import Revocation
from lamina_server.rpc.secrets import Secrets
from lamina_server.rpc.service import Service, release
from lamina_server.rpc.tracing import TracedHandler
from lamina_server.rpc.transport import UnsafeError
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.rpc.watch.in_flight import SendBudget
from lamina_server.rpc.watch.replay import ReplayCache
from lamina_server.secrets.keyring import Keyring
from lamina_server.secrets.live import LiveKeyring
from lamina_server.secrets.outer import OuterKey, outer_key
from lamina_server.settings import Settings
from lamina_server.store import address
from lamina_server.store.contract import Reading, Store, StoreNotReadyError, Upgrade
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from lamina_server.traces.traces import NO_TRACES, Traces, TracesError
from lamina_server.wire.codec import WireCodec

if TYPE_CHECKING:
    from lamina_server.metrics.endpoint import Endpoint
    from lamina_server.store.sql.store import SqlStore

FOREIGN_CALLS_SECONDS = 1.0
"""How long calls of other services (a watch of the health service has no end) may go on after ours have ended."""
LAST_SECONDS = 2.0
"""This much of the grace, and at most a quarter, is kept for what ends after the calls: threads, and last notices."""

WAIT_INTERVAL_SECONDS = 0.5
"""Between two tries to open a database that is not ready."""

_NO_ADMIN_BY_CERTIFICATE = (
    "callers are known by their certificates, and none of them is an admin: "
    "`lamina-server access reset --admin cert:NAME` makes one"
)

_log = structlog.get_logger(__name__)


class Application:
    """One server over one store. Make it, start it and stop it on one event loop.

    Raises UnsafeError or AddressError if its address cannot be used, or must not be open.

    now_us        the clock that versions are dated by, in microseconds since 1970
    cache_limits  how much is read at once, and how much is kept of one map
    outer         the outer key of secrets; None: that of the settings, if they have one
    interceptors  of gRPC, the outermost first
    audit_file    where the audit goes; the caller closes it
    recorder      counts what the server does; None: as the settings say
    shared        what this worker shares with others for metrics; None: it is alone, or there are none
    traces        makes the spans of calls; the caller ends it
    target        where clients reach it, once it has started
    metrics       where Prometheus reads its metrics, once it has started; empty if it has none
    access        who may do what
    audit         what tells of writes, refusals and revealed secrets
    is_empty      whether the store had no config but our own when it started, such as a file that was just made
    upgrade       what was done to the database's schema before it started; None if nothing
    failed        done when the store takes no more writes, and the process should end: why, for the operator
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        now_us: Callable[[], int] = system_now_us,
        cache_limits: CacheLimits = DEFAULT_LIMITS,
        outer: OuterKey | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        audit_file: AuditFile | None = None,
        recorder: Recorder | None = None,
        shared: Shared | None = None,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._recorder = recorder = recorder or _recorder_of(settings)
        recorder.expect(methods=(method.name for method in SERVICE.methods), reasons=Reason, outcomes=OUTCOMES)
        self._settings = settings
        self._listen = transport.parse(settings.listen)
        self._now_us = now_us
        self._draining = Draining()
        silence = Silence()
        self._readers = Readers(store, threads=settings.reader_threads, silence=silence)
        codec = WireCodec()
        keyring = Keyring(outer or _outer_key(settings))
        self._keys = LiveKeyring(keyring, store, silence)
        self._feed = Feed(
            limit_bytes=settings.ring_limit_bytes,
            message_limit_bytes=settings.watch_message_limit_bytes,
            is_shared=store.is_shared,
        )
        heads = Heads(
            self._readers,
            codec,
            limit_bytes=settings.heads_limit_bytes,
            is_shared=store.is_shared,
            limits=cache_limits,
        )
        self._news = News(
            store,
            self._readers,
            self._feed,
            codec,
            poll_interval_seconds=settings.news_interval_seconds,
            limits=cache_limits,
        )
        self.target = self.metrics = ""
        self.is_empty = False
        self.upgrade: Upgrade | None = None
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._committer = Committer(
            store,
            heads,
            codec,
            self._feed,
            silence=silence,
            recorder=recorder,
            map_limits=map_limits(settings),
            on_commit=self._news.committed,
            on_failure=lambda: self.failed.set_result(store.failure),
            group_limit_changes=settings.batch_limit_changes,
            cache_limits=cache_limits,
            now_us=now_us,
            sealer=keyring,
            warned_percent=settings.config_warning_percent,
            traces=traces,
        )
        turns = asyncio.Semaphore(max(1, settings.reader_threads // 2))
        watches = WatchContext(
            heads=heads,
            readers=self._readers,
            feed=self._feed,
            backfill=Backfill(self._feed, self._readers, codec, turns, limits=cache_limits),
            replays=ReplayCache(
                heads,
                self._readers,
                turns,
                limit_bytes=settings.replay_limit_bytes,
                read_limit_versions=settings.watch_read_limit_versions,
            ),
            in_flight=SendBudget(
                limit_bytes=settings.flight_limit_bytes,
                message_limit_bytes=settings.watch_message_limit_bytes,
                limit_seconds=settings.watch_take_limit_seconds,
            ),
            draining=self._draining,
            chance=random.random,
        )
        self.access = LiveAccess(is_open=transport.is_open(settings, self._listen))
        self._follower = AccessFollower(self.access, self._feed, self._readers, codec)
        self._issuers = Issuers(self.access, now_us=now_us)
        authentication = Authentication(
            self.access, self._issuers, now_us=now_us, by_certificate=settings.tls_client_ca is not None
        )
        self.audit = Audit(audit_file, now_us=now_us, is_best_effort=settings.audit_best_effort)
        self._health = health.Health()
        self._readiness = Readiness(
            store,
            self._health,
            silence,
            self.audit,
            committed_at=lambda: self._committer.committed_at,
            on_failure=self._committer.fail,
        )
        service = Service(
            self._committer,
            heads,
            self._readers,
            self.access,
            draining=self._draining,
            readiness=self._readiness,
            settings=settings,
            secrets=Secrets(self._keys, self.access),
            watches=watches,
            now_us=now_us,
        )
        self._server = grpc.aio.server(interceptors=interceptors, options=transport.options(settings, self._listen))
        guard = Guard(
            authentication,
            Permissions(self.access),
            Revocation(self.access, now_us=now_us),
            rates=Rates(self.access, settings),
            audit=self.audit,
            recorder=recorder,
            traces=traces,
        )
        others = OtherServices(guard, recorder)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, others)
        names = (SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), others)
        replies = ReplyBudget(settings.flight_limit_bytes)
        requests = Deadlines(settings.receive_limit_seconds)
        handler = ServiceHandler(service, guard, self._draining, replies=replies, requests=requests, recorder=recorder)
        ours = handler if traces is NO_TRACES else TracedHandler(handler, traces)
        self._server.add_generic_rpc_handlers((ours, *others.handlers))
        self._lag = LoopLag(recorder)
        self._shared = shared
        self._endpoints: list[Endpoint] = []
        self._gauges = Gauges(
            settings,
            store,
            self._committer,
            heads,
            self._feed,
            self._news,
            watches,
            replies,
            self._draining,
            self._readiness,
            self.access,
            is_exposed=self.access.is_open and not self.is_local,
        )

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach it."""
        return self._listen.is_local

    async def start(self) -> str:
        """Listen and answer; return the target by which clients reach the server.

        Raises UnsafeError, AddressError or OuterKeyError, and nothing answers then.
        """
        tls = self._gauges.tls = transport.tls_files(self._settings, self._listen)
        self._open_metrics()
        self.target = transport.bind(self._server, self._listen, tls, is_shared=self._settings.workers > 1)
        await self._readers.run(self._committer.check_clock)
        with suppress(ServerError):  # a database that is gone again is not a reason not to start
            self.is_empty = await self._readers.read(_is_empty)
            await self._keys.begin()
        if not self.access.is_open:
            await self._follower.start()  # before any call is answered
        self._warn_of_access()
        await self._server.start()
        self._news.start()
        self._health.set(SERVICE.full_name, is_ready=True)
        await self._readiness.start()
        if self._endpoints:
            self._lag.start()
        for endpoint in self._endpoints:
            endpoint.start()
        return self.target

    async def stop(self) -> None:
        """Refuse new calls, end those under way, and stop the threads. The caller closes the store.

        The order matters: clients that ask for health stop sending before any call is refused,
        and watches send their cursors; then the calls under way get their answers, and a commit
        that has begun is finished even if its caller has left.
        """
        grace = self._settings.stop_grace_seconds
        calls_end_at = time.monotonic() + grace - min(LAST_SECONDS, grace / 4)
        self._health.end()
        self._draining.begin()
        self._feed.wake_all()
        grace = max(calls_end_at - time.monotonic(), 0)
        stopping = asyncio.ensure_future(self._server.stop(grace))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.idle(), grace)
        await asyncio.wait({stopping}, timeout=FOREIGN_CALLS_SECONDS)
        await self._server.stop(None)
        await stopping
        await self._draining.idle()  # gRPC does not wait for the handlers that it has cut off
        self._issuers.stop()
        await self._committer.stop()
        await self._readiness.stop()
        await self._follower.stop()
        await self._news.stop()
        await self._readers.close()
        self._lag.stop()
        for endpoint in self._endpoints:
            await asyncio.to_thread(endpoint.stop)

    def _open_metrics(self) -> None:
        """Listen for scrapes, if the settings say where."""
        address = transport.parse_metrics(self._settings)
        if address is None:
            return
        # Here: to import the library takes long, and most servers in tests have no metrics.
        from lamina_server.metrics.endpoint import SCRAPES_AT_ONCE, Endpoint  # noqa: PLC0415
        from lamina_server.metrics.exposition import registry  # noqa: PLC0415

        own = registry(self._gauges.read, self._recorder.read)
        if (shared := self._shared) is None:
            self.metrics, sockets = transport.open_for_metrics(address)
            self._endpoints.append(Endpoint(sockets, own, address.path))
            return
        from lamina_server.metrics.gathering import gathered  # noqa: PLC0415

        self.metrics, path = shared.shown, shared.path(shared.number)
        _, sockets = transport.open_for_metrics(transport.Address(str(path), path=path))
        # All workers may ask this one at once, each for as many scrapes as it answers.
        self._endpoints.append(Endpoint(sockets, own, path, at_once=SCRAPES_AT_ONCE * shared.count))
        self._endpoints.append(Endpoint(shared.sockets, gathered(shared, own)))

    def _warn_of_access(self) -> None:
        access = self.access.current
        able = admins(access, self._now_us())
        if not self.access.is_open and admins(access) and not able:
            text = "the tokens of all admins have expired: `lamina-server access reset` makes a new one"
            _log.warning("no admin", reason=text)
        elif not self.access.is_open and self._settings.tls_client_ca and not any(map(_may_have_certificate, able)):
            _log.warning("no admin", reason=_NO_ADMIN_BY_CERTIFICATE)
        if self.access.is_open and not self.is_local:
            text = "everybody who reaches this address may read and change everything, by --insecure-open"
            _log.warning("open to other machines", listen=self.target, reason=text)


def _may_have_certificate(subject: str) -> bool:
    return subject.startswith(("cert:", "group:"))


def _is_empty(reading: Reading) -> bool:
    return {found.name for found in reading.configs(prefix="", after="", limit=2)} <= OWN_CONFIGS


@asynccontextmanager
async def serving(settings: Settings, shared: Shared | None = None) -> AsyncIterator[Application]:
    """Serve the database of the settings while the block lasts.

    Raises UnsafeError, AddressError, DatabaseAddressError, UnusableStoreError, OuterKeyError or TokenFileError if it
    cannot, or not safely; UnavailableError if the database is away again when it is asked who has access.
    """
    # Unsafe settings are refused before anything is touched, even before a database file is created.
    _check_parser()
    listen = transport.parse(settings.listen)
    transport.is_open(settings, listen)
    transport.tls_files(settings, listen)
    transport.parse_metrics(settings)
    address.parse(settings.database)
    _outer_key(settings)
    with open_audit_file(settings) as audit_file, _traces(settings) as traces:
        open_files.allow(settings, listen.count)
        recorder = _recorder_of(settings)
        store = await asyncio.to_thread(
            open_database, settings, measure=recorder.operation if recorder.counts else None
        )
        try:
            application = Application(
                settings, store, audit_file=audit_file, traces=traces, recorder=recorder, shared=shared
            )
            application.upgrade = store.upgrade
            try:
                if not application.access.is_open:
                    await asyncio.to_thread(_make_first_admin, store, settings)
                target = await application.start()
                _log.info(
                    "ready",
                    listen=target,
                    database=describe_database(settings),
                    empty=application.is_empty,
                    access="open" if application.access.is_open else "closed",
                    **({"metrics": application.metrics} if application.metrics else {}),
                )
                yield application
                _log.info("stopping")
            finally:
                await application.stop()
        finally:
            await asyncio.to_thread(store.close)
    if store.failure and not application.failed.done():  # the last look at a SQLite file
        application.failed.set_result(store.failure)


def _outer_key(settings: Settings) -> OuterKey | None:
    return outer_key(settings.secret_key_file, settings.secret_key_command, settings.secret_key_command_seconds)


def _check_parser() -> None:
    # The pure-Python implementation is 50 times as slow, so one hostile message would hold up the server.
    if api_implementation.Type() == "python":
        raise UnsafeError("only the pure-Python implementation of protobuf is installed; install a compiled one")


def _recorder_of(settings: Settings) -> Recorder:
    """Return what counts what the server does, if it has metrics."""
    return Recorder() if settings.metrics_listen else Unrecorded()


@contextmanager
def open_audit_file(settings: Settings) -> Iterator[AuditFile | None]:
    """Open the audit's file for the duration of the block; None without an audit."""
    if settings.audit_file is None:
        yield None
        return
    try:
        file = AuditFile(settings.audit_file)
    except OSError as error:
        text = f"cannot write the audit to {settings.audit_file}: {error.strerror}"
        raise UnsafeError(text, "audit_file") from None
    with closing(file):
        yield file


@contextmanager
def _traces(settings: Settings) -> Iterator[Traces]:
    """Export spans for the duration of the block, if the settings say so."""
    if not settings.traces:
        yield NO_TRACES
        return
    try:
        # Here: the library is an extra, and servers without traces should not import it.
        from lamina_server.traces.export import exported  # noqa: PLC0415
    except ImportError:
        text = "OpenTelemetry is not installed: pip install 'lamina[otel]' installs it"
        raise UnsafeError(text, "traces") from None
    with ExitStack() as stack:
        try:
            traces = stack.enter_context(exported(release()))
        except TracesError as error:
            raise UnsafeError(str(error), "traces") from None
        yield traces


def open_database(
    settings: Settings,
    *,
    upgrades_shared: bool = False,
    measure: Callable[[str], Callable[[float], None]] | None = None,
) -> "SqlStore":
    """Open the database, and bring its tables up to date. Blocks, for as long as the settings say to wait for it.

    upgrades_shared  whether to upgrade the tables of an older release that other servers may be using
    measure          returns what takes the seconds of an operation on the database, by its name

    Raises DatabaseAddressError or UnusableStoreError.
    """
    # Here: a server in memory, in other people's tests, must not wait until SQLAlchemy is imported.
    from lamina_server.store.open import open_store  # noqa: PLC0415

    last = time.monotonic() + settings.wait_for_database_seconds - WAIT_INTERVAL_SECONDS
    reason = ""
    while True:
        try:
            # A thread that reads holds one connection at a time, so none ever waits for another's.
            return open_store(
                settings.database,
                reader_connections=settings.reader_threads,
                upgrades_shared=upgrades_shared,
                measure=measure,
            )
        except StoreNotReadyError as error:
            if time.monotonic() > last:
                raise
            if str(error) != reason:
                reason = str(error)
                _log.warning("waiting for the database", reason=reason)
        time.sleep(WAIT_INTERVAL_SECONDS)


def _make_first_admin(store: Store, settings: Settings) -> None:
    """Make an admin if there is none. Blocks."""
    path = admin.make_first(store, partial(_place_for_token, settings), limits=map_limits(settings))
    if path is not None:
        _log.info("first admin made", token_file=str(path))


def _place_for_token(settings: Settings) -> Path:
    if settings.tls_client_ca is not None:
        raise UnsafeError(_NO_ADMIN_BY_CERTIFICATE, "tls_client_ca")
    return token_file.path_of(settings)


def admin_token_file(settings: Settings, application: Application) -> Path | None:
    """Return the file with the token of an admin that a server has made; None if there is none that counts."""
    with suppress(TokenFileError):
        path = token_file.path_of(settings)
        return path if token_file.is_of_admin(path, application.access.current) else None
    return None


def map_limits(settings: Settings) -> MapLimits:
    """Return the limits of a whole map."""
    return MapLimits(keys=settings.config_key_limit, size_bytes=settings.config_limit_bytes)


def has_database(settings: Settings) -> bool:
    """Return whether the file of a SQLite database exists; True for a database of any other kind."""
    place = address.parse(settings.database)
    return not isinstance(place, address.SqliteAddress) or place.path is None or place.path.exists()


def describe_database(settings: Settings) -> str:
    """Return where the data is: the absolute path of a file, or a URL without a password."""
    place = address.parse(settings.database)
    if isinstance(place, address.SqliteAddress) and place.path is not None:
        return str(address.resolved(place.path))
    return str(place)
