"""The databases in this folder: which there are, what is in them, and how to have one for a test."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import lamina
from tests.support.postgres import Postgres, find_bindir

FOLDER = Path(__file__).parent
REVISIONS = sorted(path.stem for path in FOLDER.glob("*.json"))
SECRETS_SINCE = "0003"
OUTER_KEY = base64.b64encode(bytes(range(32))) + b"\n"
"""The outer key of their secrets."""

Content: TypeAlias = Mapping[str, list[list[Any]]]
"""Of each config its versions: number, hash, author, message and map."""


def contents(revision: str, kind: str) -> Content:
    """Return what must be in the database of a schema on "sqlite" or "postgresql": their times and hashes differ."""
    found: Content = json.loads((FOLDER / f"{revision}.json").read_text())[kind]
    return found


def read(client: lamina.Client) -> Content:
    """Return what a server has, and check the hash of each version."""
    return {info.name: list(_versions(client.config(info.name))) for info in client.configs()}


def _versions(config: lamina.Config) -> Iterator[list[Any]]:
    config.verify()
    for version in reversed(list(config.log())):
        values = {key: _plain(value) for key, value in config.at(version.number).items()}
        yield [version.number, version.hash, version.author, version.message, values]


def _plain(value: Any) -> Any:
    if isinstance(value, lamina.Secret):
        return {"secret": value.reveal()}
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def outer_key(folder: Path) -> Path:
    """Return a file with the outer key."""
    path = folder / "secret.key"
    path.touch(mode=0o600)
    path.write_bytes(OUTER_KEY)
    return path


def sqlite(revision: str, folder: Path) -> Path:
    """Return a copy of the SQLite file of a schema."""
    path = folder / "lamina.db"
    shutil.copyfile(FOLDER / f"{revision}.db", path)
    path.chmod(0o600)
    return path


def postgresql(revision: str, postgres: Postgres) -> str:
    """Return the URL of a new PostgreSQL database with the dump of a schema."""
    url = postgres.new_database()
    script = ("--set=ON_ERROR_STOP=1", "--no-psqlrc", "--quiet", f"--file={FOLDER / f'{revision}.sql'}")
    subprocess.run([*program("psql", url), *script], check=True, stdout=subprocess.DEVNULL)
    return url


def program(name: str, url: str) -> list[str]:
    """Return the beginning of the command of a program of PostgreSQL's, for a database."""
    return [str(find_bindir() / name), f"--dbname={url.replace('postgresql+psycopg:', 'postgresql:')}"]
