"""The backup of a SQLite file, beside it, before its tables are upgraded. Knows no table but that of versions."""

import sqlite3
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from lamina_server.store.address import url_of_file
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql.revision import table_names
from lamina_server.store.sqlite.backup import PART, back_up
from lamina_server.store.sqlite.sessions import lend_reader

_Content: TypeAlias = tuple[list[tuple[str, int]], list[Any]]

_log = structlog.get_logger(__name__)

_HEADS = "SELECT config_name_id, max(version), hash FROM config GROUP BY config_name_id ORDER BY config_name_id"


def back_up_before(path: Path, revision: str) -> Path:
    """Return a complete copy of a file, beside it, from before its upgrade to a revision.

    A copy that an upgrade before this one has left is taken if nothing was committed since. So a server that is killed
    and started again and again makes one copy. No file is overwritten: an older copy may be all that is left of a past.

    The caller keeps all other writers out. Raises UnusableStoreError.
    """
    names = (f"{path.name}.before-{revision}{f'-{number}' if number > 1 else ''}.db" for number in count(1))
    target = next(file for file in map(path.with_name, names) if not file.exists() or _content(file) == _content(path))
    if target.exists():
        return target
    for left in path.parent.glob(f".{path.name}.before-*{PART}"):  # of a server that was killed
        left.unlink(missing_ok=True)
    _log.info("backing up before an upgrade", backup=str(target))
    try:
        back_up(url_of_file(str(path)), target, lambda _done, _total: None)
    except UnusableStoreError as error:
        text = f"its tables must be upgraded, and the backup before that failed, so nothing was changed: {error}"
        raise UnusableStoreError(text) from error
    return target


def _content(path: Path) -> _Content | None:
    """Return what differs between two moments of a database, since hashes are chained; None if it cannot be read."""
    try:
        with lend_reader(path) as connection:
            names = sorted(table_names(lambda statement: connection.execute(statement).fetchall(), "sqlite"))
            counts = [
                (name, connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - of its schema
                for name in names
            ]
            return counts, connection.execute(_HEADS).fetchall()
    except (sqlite3.Error, UnusableStoreError):
        return None
