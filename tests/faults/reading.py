"""Reads a config's final state in all ways that there are: by SQL, and through a server in three ways."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from sqlalchemy import Connection, create_engine, make_url, text

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc
from tests.faults.checker import agree
from tests.faults.final_state import Final, FinalVersion
from tests.faults.violations import Check, Violation

CALL_SECONDS = 20.0

_VERSIONS = text(
    "SELECT config.id, version, hash, message FROM config JOIN config_name ON config_name.id = config.config_name_id"
    " WHERE config_name.name = :config ORDER BY version"
)
_VALUES = text(
    "SELECT originating_config_id, config_value.name, string_value FROM config_value"
    " JOIN config_name ON config_name.id = config_value.config_name_id WHERE config_name.name = :config"
)
_REQUESTS = text(
    "SELECT request_id, version FROM config_request JOIN config ON config.id = config_id"
    " JOIN config_name ON config_name.id = config.config_name_id WHERE config_name.name = :config AND created"
)


def from_database(url: str, config: str) -> Final:
    """Read the tables themselves; the server may go on meanwhile."""
    engine = create_engine(_read_only(url))
    try:
        with engine.connect() as connection:
            return _from_tables(connection, config)
    finally:
        engine.dispose()


def broken_file(url: str) -> list[Violation]:
    """Have SQLite check its whole file; PostgreSQL checks each page when it reads it."""
    if make_url(url).get_backend_name() != "sqlite":
        return []
    engine = create_engine(_read_only(url))
    try:
        with engine.connect() as connection:
            found = [str(line) for (line,) in connection.execute(text("PRAGMA integrity_check"))]
    finally:
        engine.dispose()
    return [] if found == ["ok"] else [Violation(Check.DISAGREEMENT, f"integrity_check: {line}") for line in found]


def broken_rows(url: str) -> list[Violation]:
    """Have `lamina-server verify` compare every row with its digest, and every version with its hash."""
    python = os.environ.get("LAMINA_TEST_SERVER_PYTHON", sys.executable)
    verify = [python, "-m", "lamina_server", "verify", "--database", url]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    return [Violation(Check.DISAGREEMENT, f"verify: {line}") for line in (done.stdout + done.stderr).splitlines()]


def _read_only(url: str) -> str:
    path = make_url(url).database
    if make_url(url).get_backend_name() != "sqlite":
        return url
    return f"sqlite:///file:{Path(str(path)).resolve()}?mode=ro&uri=true"


def _from_tables(connection: Connection, config: str) -> Final:
    changes: dict[int, dict[str, str]] = {}
    for origin, key, value in connection.execute(_VALUES, {"config": config}):
        changes.setdefault(origin, {})[key] = value
    versions = [
        # The tables have no column for the parent: it follows from the order.
        FinalVersion(number, number - 1, bytes(hash_).hex(), message, changes.get(id_, {}))
        for id_, number, hash_, message in connection.execute(_VERSIONS, {"config": config})
    ]
    requests = {row.request_id: row.version for row in connection.execute(_REQUESTS, {"config": config})}
    return Final("the database", versions, requests)


def compare_everywhere(database: Final, config: str, targets: Sequence[str]) -> list[Violation]:
    """Read the config through every server, and return where that differs from the database."""
    violations: list[Violation] = []
    for target in targets:
        with grpc.insecure_channel(target) as channel:
            stub = lamina_pb2_grpc.ConfigServiceStub(channel)
            violations += agree(database, _from_watch(stub, config, len(database.versions), target))
            violations += _differing_headers(database, list(_listed(stub, config)), target)
            violations += _differing_map(database, stub, config, target)
    return violations


def _from_watch(stub: Any, config: str, head: int, target: str) -> Final:
    """Read a watch from 0 up to the head: whole versions with their changes."""
    request = pb.WatchKeyHistoryRequest(config=config, after=pb.Cursor(version=0))
    versions: list[FinalVersion] = []
    changes: dict[str, str] = {}
    replies = stub.WatchKeyHistory(request, timeout=CALL_SECONDS)
    for part in (part for reply in replies for part in reply.changes):
        changes |= {change.key: change.value.string for change in part.changes}
        if not part.more:
            versions.append(_version(part.version, changes))
            changes = {}
        if len(versions) >= head and not part.more:
            break
    replies.cancel()
    return Final(f"a watch at {target}", versions)


def _version(header: pb.ConfigVersion, changes: Mapping[str, str]) -> FinalVersion:
    return FinalVersion(header.version, header.parent, header.hash.hex(), header.message, changes)


def _listed(stub: Any, config: str) -> Iterator[pb.ConfigVersion]:
    """Yield the log, newest first."""
    token = ""
    while True:
        page = stub.ListVersions(pb.ListVersionsRequest(config=config, page_token=token), timeout=CALL_SECONDS)
        yield from page.versions
        token = page.next_page_token
        if not token:
            return


def _differing_headers(database: Final, headers: Sequence[pb.ConfigVersion], target: str) -> list[Violation]:
    there = [(header.version, header.hash.hex(), header.message, list(header.changed_keys)) for header in headers]
    here = [(v.number, v.hash, v.request, sorted(v.changes)) for v in reversed(database.versions)]
    if there == here:
        return []
    return [Violation(Check.DISAGREEMENT, f"the log at {target}: {len(there)} versions, {len(here)} in the database")]


def _differing_map(database: Final, stub: Any, config: str, target: str) -> list[Violation]:
    """Compare the head's whole map with the sum of all changes."""
    expected: dict[str, tuple[str | None, int]] = {}
    for version in database.versions:
        expected |= {key: (value, version.number) for key, value in version.changes.items()}
    head = stub.GetVersion(pb.GetVersionRequest(config=config), timeout=CALL_SECONDS)
    found = {entry.key: (entry.value.string, entry.origin_version) for entry in head.entries}
    if found == expected and head.version == len(database.versions) and head.hash.hex() == database.versions[-1].hash:
        return []
    return [Violation(Check.DISAGREEMENT, f"the map of the head, version {head.version}, at {target}")]
