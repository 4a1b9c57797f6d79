"""Every setting and limit of the server: its name, unit, default and reason. Knows nothing else of ours.

Each is an environment variable too: `LAMINA_SERVER_` and the name in capitals. A name
ends in its unit. What the database, the wire or a client depends on for ever (how long a
key may be, how many bytes trailers hold) is no setting: it is a constant where it is used.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

KIB = 1024
MIB = 1024 * KIB


class Settings(BaseSettings):
    """The server's settings, as the environment and the command line have them."""

    # Errors must not repeat what was given: a database URL may hold a password.
    model_config = SettingsConfigDict(
        env_prefix="LAMINA_SERVER_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    # What it serves, and where.
    database: str = Field(
        "sqlite:///lamina.db",
        description="The database's address, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`. The default is a "
        "file in the working directory: one process on one machine needs no other service",
    )
    wait_for_database_seconds: float = Field(
        0,
        ge=0,
        description="How long a start waits for a database that cannot be reached, is starting or recovering, or is "
        "still in use by another server. What no waiting mends, such as a wrong password, ends it at once",
    )
    listen: str = Field(
        "localhost:7440",
        description="HOST:PORT, or `unix:PATH`; port 0 takes a free one. The default serves this machine alone",
    )
    insecure_plaintext: bool = Field(
        default=False,
        description="Serve beyond this machine without TLS, so that everybody on the network can read every "
        "value. By default the server refuses to",
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of the server's certificate and those between it and the root"
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of the authorities whose certificates clients must show; none: clients show nothing"
    )

    # What one request may ask.
    request_limit_bytes: int = Field(
        4 * MIB, ge=KIB, description="Largest request, serialised: what gRPC peers take by default"
    )
    receive_limit_bytes: int = Field(
        5 * MIB,
        ge=KIB,
        description="Largest request that is received at all: above `request_limit_bytes`, so that the refusal "
        "can have a reason",
    )
    value_limit_bytes: int = Field(
        MIB, ge=1, description="Largest value, in canonical form: a message with one of them stays below 4 MiB"
    )
    change_limit: int = Field(10_000, ge=1, description="Changes of one commit: its transaction stays below a second")
    read_key_limit: int = Field(10_000, ge=0, description="Read keys of one commit, for the same reason")
    filter_limit: int = Field(
        1_000, ge=1, description="Keys and prefixes of one read or watch: each is a term of a database query"
    )

    # How large a config may become.
    config_key_limit: int = Field(
        100_000, ge=1, description="Keys of one config: it is a map that every client holds in memory"
    )
    config_limit_bytes: int = Field(
        64 * MIB, ge=KIB, description="Keys and values of one config together, for the same reason"
    )

    # How large an answer is.
    page_limit_bytes: int = Field(
        MIB, ge=1, description="A page closes when it passes this: larger messages hold up everybody else's"
    )
    page_size_limit: int = Field(
        10_000, ge=1, description="Entries of one page, also where the request leaves it open: a page of tiny ones"
    )
    watch_message_limit_bytes: int = Field(
        MIB, ge=1, description="A watch's message closes before it passes this, if it holds anything by then"
    )
    watch_read_limit_versions: int = Field(
        10_000,
        ge=1,
        description="Versions that a watch looks through in one reading: a filter that matches nothing must not "
        "hold a reader's thread for long",
    )
    watch_take_limit_seconds: float = Field(
        60,
        gt=0,
        description="A watch that takes nothing for so long is ended: its client goes on after its cursor, or is gone. "
        "Longer than a client stops for by itself",
    )
    bookmark_interval_seconds: float = Field(
        30, ge=1, description="An idle watch gets a bookmark this often, where its request leaves it open"
    )

    # What the process spends.
    heads_limit_bytes: int = Field(
        256 * MIB,
        ge=0,
        description="Maps held in memory, by estimate: what was used least recently goes, and is read again when "
        "it is asked for. Large enough for a few of the largest configs",
    )
    ring_limit_bytes: int = Field(
        64 * MIB,
        ge=0,
        description="Recent versions held in memory for watches, by estimate: what is older they read from the "
        "database. Some ten thousand small ones",
    )
    replay_limit_bytes: int = Field(
        32 * MIB,
        ge=0,
        description="Messages of older versions that are kept for other watches that replay the same: once for each "
        "of a few dozen at different places",
    )
    flight_limit_bytes: int = Field(
        64 * MIB,
        ge=1,
        description="Messages of watches that are on their way to clients: beyond half of it they are made small, and "
        "large ones wait. Some dozens of large ones, however many clients are slow",
    )
    watch_limit: int = Field(
        20_000, ge=1, description="Watches of one server: an idle one takes some 30 KiB. More are refused"
    )
    batch_limit_changes: int = Field(
        10_000,
        ge=1,
        description="Changes of one transaction, if it holds more than one write: deciding and inserting more would "
        "make the first of them wait for the last, and other servers for all",
    )
    news_interval_seconds: float = Field(
        2,
        gt=0,
        description="Servers on one PostgreSQL ask this often what others have committed to watched configs, in case "
        "that a notice was lost: what one costs at most",
    )
    reader_threads: int = Field(
        4, ge=1, description="Threads that read the database: more only queue for Python's lock and the disk"
    )
    stop_grace_seconds: float = Field(
        10,
        ge=0,
        description="How long the process may take to end after SIGTERM, at least 1 s: less than orchestrators wait. "
        "Calls under way have all of it but the last 2 s",
    )

    # What a connection may do.
    connection_limit_streams: int = Field(100, ge=1, description="Calls and watches at once on one connection")
    connection_limit_watches: int = Field(
        100,
        ge=1,
        description="Watches at once on one TCP connection, where its streams are not all meant for them",
    )
    connection_age_seconds: int = Field(
        1_800, ge=1, description="Then a connection is renewed, so that load spreads over new servers"
    )
    connection_age_grace_seconds: int = Field(
        60, ge=1, description="How long its calls may go on after that; watches resume elsewhere"
    )
    keepalive_seconds: int = Field(
        20, ge=1, description="A silent connection is asked this often whether its client still lives"
    )
    keepalive_timeout_seconds: int = Field(
        10, ge=1, description="How long it may take to answer; then its streams are freed"
    )
    ping_interval_limit_seconds: int = Field(
        5,
        ge=1,
        description="Clients that ping more often than this are cut off; the SDK's ask every 10 s",
    )
    handshake_timeout_seconds: int = Field(
        10, ge=1, description="A connection that has not finished its TLS and HTTP/2 handshakes by then is closed"
    )
    metadata_limit_bytes: int = Field(8 * KIB, ge=KIB, description="Metadata of one call: gRPC's own default")
    pending_limit_calls: int = Field(
        20_000,
        ge=1,
        description="Calls received and not yet begun; beyond it some are refused, beyond twice as many all are. "
        "gRPC's default of about 1,000 drops watches when thousands come back at once",
    )
