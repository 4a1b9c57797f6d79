"""Read one version's map through its session, in few statements however long the past is. Writes nothing."""

from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from lamina_server.domain.errors import CompactedError, HashMismatchError
from lamina_server.domain.records import Entry, Version
from lamina_server.models.keyframes import Rows, whole_map
from lamina_server.models.queries import Statement, cut
from lamina_server.models.tables import VERSIONS


def read_entries(session: Session | None, version: Version) -> dict[str, Entry]:
    """Return a version's entries, by key.

    Raises DetachedInstanceError without a session, CompactedError if they are no longer kept, and HashMismatchError if
    they are not intact in the database.
    """
    if session is None:
        raise DetachedInstanceError(
            f"version {version.number} of {version.config!r} is in no session, and its data was not read while it was"
        )
    # Not by the session's own methods, which would flush: a read must not make a version.
    connection = session.connection(bind_arguments={"clause": VERSIONS})

    def ask(statement: Statement, **parameters: Any) -> Rows:
        return connection.execute(statement, parameters).all()

    def check_kept() -> None:
        (row,) = ask(cut(), config=version.config)
        if version.number < row.oldest:
            raise CompactedError(version.config, version.number, row.oldest)

    try:
        entries = {entry.key: entry for entry in whole_map(ask, version)}
    except HashMismatchError:
        check_kept()
        raise
    check_kept()  # after the reading, because compaction may have begun meanwhile
    return entries
