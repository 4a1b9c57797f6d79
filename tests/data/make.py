"""Make this folder's databases for one schema: `python -m tests.data.make [--code FOLDER]`, on an empty server each.

The server is that of FOLDER, which is this tree by default. This tree's SDK writes, and reads what the JSON will have.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import lamina
from tests.data.databases import FOLDER, SECRETS_SINCE, outer_key, program, read
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

CODE = FOLDER.parent.parent


def serving(url: str, code: Path, arguments: Sequence[str] = ()) -> ServerProcess:
    """Return the server of a tree, which has not started yet."""
    paths = [str(code / each) for each in (".", "client", "server", "protos")]
    return ServerProcess(url, *arguments, PYTHONPATH=os.pathsep.join(paths), PYTHONSAFEPATH="1")


def newest_revision(code: Path) -> str:
    """Return the newest schema that a tree knows."""
    return max(path.name[:4] for path in code.glob("server/lamina_server/store/sql/migrations/versions/[0-9]*.py"))


def fill(target: str, *, with_secrets: bool) -> Mapping[str, Any]:
    """Commit some versions, and return what the server has then."""
    with lamina.connect(target, author="ada") as ada, lamina.connect(target, author="grace") as grace:
        _shop(ada, grace)
        _many(ada)
        if with_secrets:
            vault = ada.config("shop/vault", create=True)
            vault["db/password"] = lamina.Secret("hunter2")
            vault.commit("a password")
            vault["db/password"] = lamina.Secret({"user": "shop", "password": "correct horse"})
            vault.commit("with its user")
        return read(ada)


def _shop(ada: lamina.Client, grace: lamina.Client) -> None:
    shop = ada.config("shop/prod", create=True)
    shop |= {"timeout": 30, "ratio": 0.1, "on": True, "none": None, "big": 2**62, "bytes": b"\x00\xff"}
    shop |= {"text": "täglich", "hosts": ["h1", "h2"], "limits": {"depth": {"max": 3}}}
    shop.commit("first settings")
    shop["timeout"] = 45
    del shop["none"]
    shop.commit("the provider is slow")
    theirs = grace.config("shop/prod")
    theirs["hosts"] += ["h3"]
    theirs.commit("one more host")
    theirs.revert("timeout", to=1, message="fast again")
    theirs.fork("shop/eu", at=2, message="a region of its own")
    europe = ada.config("shop/eu")
    europe["currency"] = "EUR"
    europe.commit("its currency")


def _many(client: lamina.Client) -> None:
    """Make a config large enough for keyframes."""
    many = client.config("many", create=True)
    many |= {f"key/{number:03}": number for number in range(100)}
    many.commit("a hundred keys")
    for step in range(1, 6):
        many |= {f"key/{number:03}": number + step for number in range(100)}
        many.commit(f"step {step}")


def make(code: Path) -> None:
    """Make the files of a tree's newest schema."""
    revision = newest_revision(code)
    with tempfile.TemporaryDirectory() as name, Postgres.start() as postgres:
        folder = Path(name)
        secrets = revision >= SECRETS_SINCE
        arguments = ["--secret-key-file", str(outer_key(folder))] if secrets else []
        with serving(f"sqlite:///{folder}/lamina.db", code, arguments) as server:
            on_sqlite = fill(server.target, with_secrets=secrets)
        with closing(sqlite3.connect(folder / "lamina.db")) as database:
            (FOLDER / f"{revision}.db").unlink(missing_ok=True)
            database.execute("VACUUM INTO ?", [str(FOLDER / f"{revision}.db")])
        url = postgres.new_database()
        with serving(url, code, arguments) as server:
            on_postgresql = fill(server.target, with_secrets=secrets)
        dump = [*program("pg_dump", url), "--no-owner", "--no-privileges", f"--file={FOLDER / f'{revision}.sql'}"]
        subprocess.run(dump, check=True)
    text = json.dumps({"sqlite": on_sqlite, "postgresql": on_postgresql}, ensure_ascii=False, indent=1)
    (FOLDER / f"{revision}.json").write_text(text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, default=CODE, metavar="FOLDER")
    make(parser.parse_args().code.absolute())
