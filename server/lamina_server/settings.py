"""Every setting and limit of the server: its name, unit, default, range and reason. Imports no other room.

Each setting is an option of `serve`, an environment variable (`LAMINA_SERVER_` and the name in capitals) and a key of
the settings file. A name ends in its unit. A limit on which the database, the wire or a client depends for ever
(the length of a key, the size of trailers) is a constant where it is used, and no setting.

Every number has a smallest and a largest value, and the server works with both. A larger number
is a mistake of its unit, or would not fit where it is used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "LAMINA_SERVER_"
"""What the name of each variable begins with."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB
DAY_SECONDS = 86_400
GRPC_SECONDS = 2_000_000
"""gRPC counts milliseconds in 32 bits. These are 23 days."""

_NUMBERS = {int: re.compile(r"-?\d+", re.ASCII), float: re.compile(r"-?\d+(\.\d+)?", re.ASCII)}
"""How numbers are written: not 0x10, 1e3 or nan."""

_URL = re.compile("(?<!unix)://")
_PATH = re.compile(r"(?!.*:.*@)[^\x00-\x1f]+")
"""What may be a file's path: not the text of the key itself, and not a user and a password."""

_AT_MOST = (
    ("value_limit_bytes", "request_limit_bytes", "no request could hold such a value"),
    ("value_limit_bytes", "config_limit_bytes", "no config could hold such a value"),
    ("request_limit_bytes", "receive_limit_bytes", "its refusal would have no reason"),
    ("connection_limit_watches", "connection_limit_streams", "each watch is a stream"),
)
"""Of two settings, the first must be at most the second: the third item says why."""

CONTRADICTION = "contradiction"
"""The type of a validation error of several settings. Its context says which, and why: see `Contradiction`."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Settings that are each allowed, and not together. The text has {} in the place of each name."""

    names: tuple[str, ...]
    text: str


class Settings(BaseSettings):
    """The server's settings, as the environment and the command line have them."""

    # Errors must not repeat a value: a database URL may contain a password.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    # The database and the address.
    database: str = Field(
        "sqlite:///lamina.db",
        description="The database's address, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`. The default is a "
        "file in the working directory: one process on one machine needs no other service",
    )
    wait_for_database_seconds: float = Field(
        0,
        ge=0,
        le=DAY_SECONDS,
        description="How long the start waits for a database that cannot be reached, is starting or recovering, or is "
        "still in use by another server. If waiting cannot help, for example after a wrong password, the start fails "
        "at once",
    )
    listen: str = Field(
        "localhost:7440",
        description="HOST:PORT, or `unix:PATH`. Port 0 takes any free port. The default serves only this machine",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve the address together, each on a core of its own. They need PostgreSQL. Each "
        "has the limits of a process, and its own connections to the database",
    )
    insecure_plaintext: bool = Field(
        default=False,
        description="Serve other machines without TLS. Then everybody on the network can read every value, so the "
        "server refuses this by default",
    )
    tls_cert: Path | None = Field(
        None,
        description="PEM file with the server's certificate and its intermediate certificates. The server follows "
        "the TLS files without a restart",
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file with the authorities that sign clients' certificates. With it, the certificate is a "
        "client's only credential: its name is the URI of its SAN, or else its DNS name. Without it, clients need no "
        "certificate",
    )

    # Access.
    access: Literal["open", "closed"] | None = Field(
        None,
        description="`closed` or `open`. On a closed server callers need a token or a certificate, and "
        "`_lamina/access` says what they may do. On an open one everybody may do everything. The default is `open` "
        "where only this machine can reach the address, and `closed` everywhere else",
    )
    insecure_open: bool = Field(
        default=False,
        description="Be open to other machines, too. Then everybody on the network may read and change everything, "
        "so the server refuses this by default",
    )
    bootstrap_token_file: Path | None = Field(
        None,
        description="The file into which the first start of a closed server writes the token of its first admin. The "
        "default is the SQLite file's path with `.admin-token` behind it; with PostgreSQL, `lamina.admin-token` in the "
        "working directory",
    )

    # Secrets.
    secret_key_file: Path | None = Field(
        None,
        description="File with the outer key of secrets: 32 random bytes in base64. Only its owner may be able to "
        "read it, or root and the server's group. The server encrypts secrets with data keys, which this key encrypts "
        "in the database",
    )
    secret_key_command: str | None = Field(
        None,
        description="In the place of a file, a command that encrypts data keys, such as that of a key management "
        "service. The server adds the word `wrap` or `unwrap`, writes to its stdin, and reads its stdout",
    )
    secret_key_command_seconds: float = Field(
        10,
        ge=0.01,
        le=DAY_SECONDS,
        description="How long this command may take. After that the server ends it, and tries again when a secret is "
        "needed",
    )
    new_secret_key_file: Path | None = Field(
        None, description="For `lamina-server keys rotate` alone: the file of the next outer key"
    )
    new_secret_key_command: str | None = Field(
        None, description="For `lamina-server keys rotate` alone: the command that is the next outer key"
    )

    # Audit.
    audit_file: Path | None = Field(
        None,
        description="Where the server writes a line of JSON for each write, each refusal and each revealed secret. "
        "`-` is stdout. It makes the file, for its own user alone, and opens it anew on SIGHUP. Without this setting "
        "there is no audit",
    )
    audit_best_effort: bool = Field(
        default=False,
        description="Write and reveal also when the audit cannot be written. The server refuses both by default",
    )

    # Metrics.
    metrics_listen: str | None = Field(
        None,
        description="HOST:PORT or `unix:PATH` where Prometheus reads the server's metrics, at `/metrics`. Without this "
        "setting there are none. They are in plaintext and for everybody who reaches the address, so it must be one "
        "that only this machine can reach",
    )
    insecure_metrics: bool = Field(
        default=False,
        description="Serve metrics to other machines, too. They have no name and no value of a config, but they tell "
        "how the server is used, so the server refuses this by default",
    )

    # Traces.
    traces: bool = Field(
        default=False,
        description="Send OpenTelemetry a span of each call. It needs the extra `lamina[otel]`, and takes that "
        "library's own variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_TRACES_SAMPLER`",
    )

    # Limits of one request.
    request_limit_bytes: int = Field(
        4 * MIB, ge=KIB, le=GIB, description="Largest request, serialised. gRPC peers accept this size by default"
    )
    receive_limit_bytes: int = Field(
        5 * MIB,
        ge=KIB,
        le=GIB,
        description="Largest request that the server receives at all. It is larger than `request_limit_bytes`, so "
        "that the refusal can have a reason",
    )
    value_limit_bytes: int = Field(
        MIB,
        ge=1,
        le=GIB,
        description="Largest value, in canonical form. A message with one such value stays below 4 MiB",
    )
    change_limit: int = Field(
        10_000, ge=1, le=1_000_000, description="Changes of one commit. Its transaction stays below a second"
    )
    read_key_limit: int = Field(
        10_000, ge=0, le=1_000_000, description="Read keys of one commit. Its transaction stays below a second"
    )
    filter_limit: int = Field(
        1_000, ge=1, le=10_000, description="Keys and prefixes of one read or watch. Each is a term of a database query"
    )

    # Limits of a config.
    config_key_limit: int = Field(
        100_000, ge=1, le=100_000_000, description="Keys of one config. Every client holds the whole map in memory"
    )
    config_limit_bytes: int = Field(
        64 * MIB,
        ge=KIB,
        le=TIB,
        description="Size of all keys and values of one config. Every client holds the whole map in memory",
    )

    config_warning_percent: int = Field(
        80,
        ge=1,
        le=100,
        description="The log warns of a config that is larger than this part of the two limits above, before a commit "
        "is refused for them",
    )

    # Limits of an answer, and of a watch.
    page_limit_bytes: int = Field(
        MIB,
        ge=1,
        le=GIB,
        description="A page ends once it is larger than this. Larger messages would delay other calls",
    )
    page_size_limit: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Entries of one page, also if the request names no number. It limits pages of tiny entries",
    )
    watch_message_limit_bytes: int = Field(
        MIB,
        ge=1,
        le=GIB,
        description="A message of a watch ends before it becomes larger than this, unless its first change alone is "
        "larger",
    )
    watch_read_limit_versions: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Versions that a watch examines in one read. A filter that matches nothing must not occupy a "
        "reader's thread for long",
    )
    watch_take_limit_seconds: float = Field(
        60,
        ge=0.01,
        le=DAY_SECONDS,
        description="The server ends a watch that takes nothing for this long. Its client goes on from its cursor, or "
        "is gone. This is longer than any pause that a client makes by itself",
    )
    bookmark_interval_seconds: float = Field(
        30,
        ge=1,
        le=DAY_SECONDS,
        description="An idle watch gets a bookmark this often, if its request names no interval",
    )

    # Limits of one principal of a closed server. `limits/PRINCIPAL` in `_lamina/access` says otherwise for one of them.
    caller_limit_calls_per_second: int = Field(
        1_000,
        ge=0,
        le=1_000_000,
        description="Calls of one principal within a second; 0: any number. A principal may save up the calls of ten "
        "seconds, so that thousands of watches may come back at once",
    )
    caller_limit_bytes_per_second: int = Field(
        128 * MIB,
        ge=0,
        le=TIB,
        description="Bytes of requests and answers of one principal within a second; 0: any number. Calls beyond it "
        "are refused, and watches are slowed down",
    )
    caller_limit_watches: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="Watches of one principal; 0: any number. Half of the server's, so that others have room",
    )

    # Limits of the process.
    heads_limit_bytes: int = Field(
        256 * MIB,
        ge=0,
        le=TIB,
        description="Maps in memory, estimated. The server drops the least recently used map, and reads it again when "
        "it is needed. The default holds a few of the largest configs",
    )
    ring_limit_bytes: int = Field(
        64 * MIB,
        ge=0,
        le=TIB,
        description="Recent versions in memory for watches, estimated. Watches read older versions from the database. "
        "The default holds some ten thousand small versions",
    )
    replay_limit_bytes: int = Field(
        32 * MIB,
        ge=0,
        le=TIB,
        description="Messages of older versions that the server keeps for other watches that replay the same "
        "versions. The default serves watches at a few dozen different versions",
    )
    flight_limit_bytes: int = Field(
        64 * MIB,
        ge=1,
        le=TIB,
        description="Messages of watches in flight to clients, and as much again of other answers. Beyond half of this "
        "limit the server makes messages small, and large messages wait. One principal has half of it for answers; "
        "more wait, and are refused after 10 s. The default allows some dozens of large messages, however many clients "
        "are slow",
    )
    watch_limit: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Watches of one server. An idle watch takes some 30 KiB. The server refuses more",
    )
    batch_limit_changes: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Changes of one transaction with more than one write. In a larger transaction, the first commit "
        "would wait for the last, and other servers would wait for all",
    )
    news_interval_seconds: float = Field(
        2,
        ge=0.01,
        le=DAY_SECONDS,
        description="How often servers on one PostgreSQL ask for other servers' commits to watched configs. A lost "
        "notice delays a watch by this time at most",
    )
    reader_threads: int = Field(
        4,
        ge=1,
        le=256,
        description="Threads that read the database. More threads would only wait for Python's lock and the disk",
    )
    stop_grace_seconds: float = Field(
        10,
        ge=0,
        le=DAY_SECONDS,
        description="How long the process may take to end after SIGTERM, at least 1 s. This is shorter than "
        "orchestrators wait. Calls in flight have all of it except the last 2 s",
    )

    # Limits of connections.
    connection_limit: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Connections on each of the server's addresses; it closes more at once. A client needs one for 100 "
        "watches. An idle connection takes some 20 KiB. The server asks for as many open files as it needs. It allows "
        "fewer connections if the process may not have them, and warns if fewer than half are left",
    )
    receive_limit_seconds: float = Field(
        60,
        ge=0.01,
        le=DAY_SECONDS,
        description="How long a request may take to arrive. After that, the server gives up the call",
    )
    connection_limit_streams: int = Field(
        200,
        ge=1,
        le=1_000_000,
        description="Concurrent calls and watches on one connection. Those that have ended, such as cancelled ones, "
        "count until the server has cleared them away, and beyond the limit it refuses new ones. So a client should "
        "have half as many at once",
    )
    connection_limit_watches: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Concurrent watches on one TCP connection. Its other streams are left for other calls",
    )
    connection_age_seconds: int = Field(
        1_800,
        ge=1,
        le=GRPC_SECONDS,
        description="After this time a connection is renewed, so that load spreads over new servers",
    )
    connection_age_grace_seconds: int = Field(
        60,
        ge=1,
        le=GRPC_SECONDS,
        description="How long the calls of a connection may go on after that. Watches resume on another connection",
    )
    keepalive_seconds: int = Field(
        20,
        ge=1,
        le=GRPC_SECONDS,
        description="How often the server checks on a silent connection that its client is alive",
    )
    keepalive_timeout_seconds: int = Field(
        10,
        ge=1,
        le=GRPC_SECONDS,
        description="How long the client may take to answer this check. After that, the server frees its streams",
    )
    ping_interval_limit_seconds: int = Field(
        5,
        ge=1,
        le=GRPC_SECONDS,
        description="The server cuts off clients that ping more often than this. The SDK pings every 10 s",
    )
    handshake_timeout_seconds: int = Field(
        10,
        ge=1,
        le=GRPC_SECONDS,
        description="The server closes a connection that has not finished its TLS and HTTP/2 handshakes after this "
        "time",
    )
    metadata_limit_bytes: int = Field(
        8 * KIB, ge=KIB, le=16 * MIB, description="Metadata of one call. This is gRPC's own default"
    )
    pending_limit_calls: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Calls that are received and have not begun. Beyond this limit gRPC refuses some calls, and "
        "beyond twice the limit it refuses all. gRPC's default of about 1,000 drops watches when thousands come back "
        "at once",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_other_texts(cls, given: Any, info: ValidationInfo) -> Any:
        """Refuse what would pass for a number or a path, although nobody writes one like this."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if kind in _NUMBERS and isinstance(given, bool):
            raise PydanticCustomError("not_a_number", "not a number")
        if not isinstance(given, str) or info.field_name == "database":
            return given
        if kind in _NUMBERS and not _NUMBERS[kind].fullmatch(given):
            raise PydanticCustomError("not_a_number", "not a number")
        if _URL.search(given):
            raise PydanticCustomError("url", "a URL")
        if kind == Path | None and not _PATH.fullmatch(given):
            raise PydanticCustomError("not_a_path", "not a path")
        return given

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if found := [*self._contradictory_limits(), *self._contradictory_files(), *self._contradictory_access()]:
            raise PydanticCustomError(CONTRADICTION, "the settings contradict each other", {CONTRADICTION: found})
        return self

    def _contradictory_limits(self) -> Iterator[Contradiction]:
        for name, limit, why in _AT_MOST:
            given, most = getattr(self, name), getattr(self, limit)
            if given > most:
                yield Contradiction((name, limit), f"{{}} is {given}; it must be at most {{}}, {most}, because {why}")

    def _contradictory_files(self) -> Iterator[Contradiction]:
        files = ("tls_cert", "tls_key", "tls_client_ca")
        given = [name for name in files if getattr(self, name) is not None]
        if given and self.insecure_plaintext:
            yield Contradiction(("insecure_plaintext", given[0]), "{} contradicts {}: leave out one of them")
        for name in ("tls_cert", "tls_key"):
            if given and name not in given:
                yield Contradiction((given[0], name), "{} is given, and {} is not: TLS needs both")
        for keys in (("secret_key_file", "secret_key_command"), ("new_secret_key_file", "new_secret_key_command")):
            if all(getattr(self, name) is not None for name in keys):
                yield Contradiction(keys, "{} contradicts {}: leave out one of them")

    def _contradictory_access(self) -> Iterator[Contradiction]:
        if self.insecure_open and self.access == "closed":
            yield Contradiction(("insecure_open", "access"), "{} contradicts {}: leave out one of them")


def range_of(name: str) -> str:
    """Return the smallest and the largest value of a setting, for people; empty if it is not a number."""
    bounds = Settings.model_fields[name].metadata
    lowest = [bound.ge for bound in bounds if hasattr(bound, "ge")]
    highest = [bound.le for bound in bounds if hasattr(bound, "le")]
    return f"{lowest[0]} to {highest[0]}" if lowest and highest else ""
