"""Closed servers for tests, and connections to them for each caller.

In this process and on the test's event loop, over any store:

    async with closed(store, people) as server:
        await server.stub(ada).Commit(...)               # bare stubs, one channel for each person
        await server.change({f"tokens/{shop.token_id}": None}, by=ada)

As a process of its own, for the SDK's blocking client and the command line:

    with ClosedProcess(f"sqlite:///{tmp_path}/lamina.db", people) as server:
        server.connect(ada).config("shop/prod")
        subprocess.run(["lamina", "get", "shop/prod"], env={**os.environ, **server.environment(ada)})

With `secured=Secured.TLS` the server has a certificate; with `Secured.MTLS` callers need one, too (a Person from
`People.certificate`). All of it belongs to one test: nothing is shared.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import trustme

import lamina
import lamina.aio
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.app import Application
from lamina_server.audit.file import AuditFile
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.settings import Settings
from lamina_server.store.contract import Store
from lamina_server.store.open import open_store
from tests.security.people import NOBODY, People, Person, changes
from tests.server.bare_client import Wire, commit_request
from tests.support.server import ServerProcess

_ids = itertools.count(1)


class Secured(Enum):
    """How callers reach a server."""

    PLAINTEXT = "plaintext"
    TLS = "tls"
    MTLS = "mtls"


class TlsFiles:
    """The server's certificate and key, and the authorities, in files of a folder."""

    def __init__(self, folder: Path, people: People, secured: Secured) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        own = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
        self.ca = authority.cert_pem.bytes()
        self.settings: dict[str, Path] = {}
        if secured is not Secured.PLAINTEXT:
            self._write(folder, "tls_cert", own.cert_chain_pems[0].bytes())
            self._write(folder, "tls_key", own.private_key_pem.bytes())
        if secured is Secured.MTLS:
            self._write(folder, "tls_client_ca", people.authority.cert_pem.bytes())

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        self.settings[name] = folder / f"{name}.pem"
        self.settings[name].write_bytes(content)

    def channel_credentials(self, person: Person) -> grpc.ChannelCredentials:
        certificate, key = person.certificate or (None, None)
        return grpc.ssl_channel_credentials(self.ca, key, certificate)

    def sdk(self, person: Person) -> lamina.TLS | bool:
        """Return what the SDK takes as `tls=`."""
        certificate, key = person.certificate or (None, None)
        return lamina.TLS(ca=self.ca, cert=certificate, key=key) if self.settings else False


@contextmanager
def tls_files(people: People, secured: Secured) -> Iterator[TlsFiles]:
    """Make the files, which last as long as the block."""
    with TemporaryDirectory() as folder:
        yield TlsFiles(Path(folder), people, secured)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds a person's token to each call with one answer."""

    def __init__(self, person: Person) -> None:
        self._person = person

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_as(self._person, details), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    """Adds a person's token to each watch."""

    def __init__(self, person: Person) -> None:
        self._person = person

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_as(self._person, details), request)


def _as(person: Person, details: Any) -> Any:
    return details._replace(metadata=grpc.aio.Metadata(*(details.metadata or ()), *person.metadata))


class PersonalWire(Wire):
    """A `Wire` of one person."""

    def __init__(self, server: "Closed", channel: grpc.aio.Channel) -> None:
        self.target, self.application = server.target, server.application
        self._is_running = False
        self.channel = channel
        self.stub = ConfigServiceStub(channel)


class Closed:
    """A closed server in this process, and connections to it."""

    def __init__(self, application: Application, target: str, files: TlsFiles) -> None:
        self.application = application
        self.target = target
        self._files = files
        self._channels: dict[Person, grpc.aio.Channel] = {}
        self._swapped = asyncio.Event()
        application.access.call_on_swap(self._swapped.set)

    @property
    def authority(self) -> bytes:
        """The certificate of the authority that has signed the server's, in PEM."""
        return self._files.ca

    def channel(self, person: Person = NOBODY) -> grpc.aio.Channel:
        """Return the channel of a person; each call has the person's token."""
        if person not in self._channels:
            options = [("grpc.max_send_message_length", -1)]
            interceptors = [_Unary(person), _Stream(person)]
            if self._files.settings:
                credentials = self._files.channel_credentials(person)
                channel = grpc.aio.secure_channel(self.target, credentials, options, interceptors=interceptors)
            else:
                channel = grpc.aio.insecure_channel(self.target, options, interceptors=interceptors)
            self._channels[person] = channel
        return self._channels[person]

    def stub(self, person: Person = NOBODY) -> Any:
        """Return bare stubs of a person."""
        return ConfigServiceStub(self.channel(person))

    def wire(self, person: Person = NOBODY) -> Wire:
        """Return the short forms of the calls, and the watches, of a person."""
        return PersonalWire(self, self.channel(person))

    def connect(self, person: Person = NOBODY, **options: Any) -> lamina.aio.Client:
        """Return a client of the SDK for asyncio; use it as a context."""
        options = {"token": person.token or None, "tls": self._files.sdk(person), "cache_dir": "", **options}
        return lamina.aio.connect(self.target, **options)

    async def change(self, values: Mapping[str, Any], by: Person) -> int:
        """Commit to `_lamina/access` as an admin, wait until it holds here, and return the version. None deletes."""
        head = await self.stub(by).GetVersion(pb.GetVersionRequest(config=ACCESS_CONFIG))
        reply = await self.stub(by).Commit(_commit(dict(values), head.version))
        number = int(reply.version.version)
        while self.application.access.current.version < number:
            self._swapped.clear()
            await self._swapped.wait()
        return number

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


@asynccontextmanager
async def closed(
    store: Store,
    people: People,
    *,
    secured: Secured = Secured.PLAINTEXT,
    audit_file: AuditFile | None = None,
    **settings: Any,
) -> AsyncIterator[Closed]:
    """Run a closed server over a store, in which these people have their rights."""
    await prepare(store, people)
    with tls_files(people, secured) as files:
        given: dict[str, Any] = {**files.settings, **settings}
        closed_settings = Settings(listen="localhost:0", access="closed", **given)
        application = Application(closed_settings, store, audit_file=audit_file)
        server = Closed(application, await application.start(), files)
        try:
            yield server
        finally:
            await application.stop()
            await server.close()


async def prepare(store: Store, people: People, others: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Commit the access of people to a store, and other configs, by an open server."""
    application = Application(Settings(listen="localhost:0", access="open"), store)
    target = await application.start()
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            await ConfigServiceStub(channel).Commit(_commit(people.values))
            for config, values in (others or {}).items():
                await ConfigServiceStub(channel).Commit(commit_request(config, values))
    finally:
        await application.stop()


def _commit(values: dict[str, Any], base: int = 0) -> pb.CommitRequest:
    request_id = f"access-{next(_ids)}"
    return pb.CommitRequest(config=ACCESS_CONFIG, changes=changes(values), base_version=base, request_id=request_id)


class ClosedProcess(ServerProcess):
    """`lamina-server serve --access closed` as a process of its own, on a new database, with these people."""

    def __init__(
        self,
        database: str,
        people: People,
        *arguments: str,
        secured: Secured = Secured.PLAINTEXT,
        **environment: str,
    ) -> None:
        self._clients, self._folder = ExitStack(), ExitStack()
        self._files = self._folder.enter_context(tls_files(people, secured))
        given = {f"LAMINA_SERVER_{name.upper()}": str(path) for name, path in self._files.settings.items()}
        super().__init__(database, *arguments, LAMINA_SERVER_ACCESS="closed", **given, **environment)
        self._prepare(database, people)

    @staticmethod
    def _prepare(database: str, people: People) -> None:
        store = open_store(database)
        try:
            asyncio.run(prepare(store, people))
        finally:
            store.close()

    def __exit__(self, *error: object) -> None:
        with self._folder:
            self._clients.close()
            super().__exit__(*error)

    def connect(self, person: Person = NOBODY, **options: Any) -> lamina.Client:
        """Return a client of the SDK, which is closed with the server."""
        options = {"token": person.token or None, "tls": self._files.sdk(person), "cache_dir": "", **options}
        return self._clients.enter_context(lamina.connect(self.target, **options))
