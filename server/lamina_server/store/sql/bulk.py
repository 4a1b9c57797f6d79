"""Large versions, staged beside other writers: see Store.stage. Knows no dialect.

PostgreSQL shows others nothing of a transaction that goes on. So the rows go into their tables at once, in a
transaction that does not have the write lock yet. SQLite has one writer at a time. So the rows wait in a table of
their own, and one statement copies them under the lock, in less than half the time that single INSERTs take.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Connection, Text, bindparam, select

from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark
from lamina_server.models.queries import Statement
from lamina_server.models.rows import VALUE_COLUMNS, value_rows
from lamina_server.models.tables import NAMES, VALUES, VERSIONS
from lamina_server.store.contract import HistoryBrokenError, OvertakenError
from lamina_server.store.sql.database import Database, Staging
from lamina_server.store.sql.known import KnownRows
from lamina_server.store.sql.writing import SqlWriting

ROWS_AT_ONCE = 1_000
"""Rows that are staged together. Between two such batches others have their turn, on both databases."""

_SAME = 3
"""So many of a value's first columns are the same for all values of a version: the ids of its place."""

Block: TypeAlias = Callable[
    [AbstractContextManager[Connection], Callable[[Connection, Database, KnownRows], SqlWriting]],
    AbstractContextManager[SqlWriting],
]
"""How a store opens a writing block: on a connection that is lent, with a Writing that is made for it."""


def _ids_of_version() -> Statement:
    """Select the ids of a config and of one of its versions."""
    config, version = bindparam("config", type_=Text), bindparam("version", type_=BigInteger)
    joined = select(NAMES.c.id.label("name_id"), VERSIONS.c.id).join(NAMES, VERSIONS.c.config_name_id == NAMES.c.id)
    return joined.where(NAMES.c.name == config, VERSIONS.c.version == version)


_IDS_OF_VERSION = _ids_of_version()


class StagedPlan:
    """A Staged in a SQL database.

    parent  the head that the plan follows; None before version 1
    """

    def __init__(self, plan: Plan, parent: HeadMark | None, staging: Staging, block: Block) -> None:
        self._plan = plan
        self._parent = parent
        self._staging = staging
        self._block = block

    def stage(self, database: Database) -> None:
        """Stage all rows. Raises OvertakenError."""
        columns: Sequence[str] = VALUE_COLUMNS
        if self._staging.is_in_tables:
            name_id, version_id = self._insert_header(database)
            rows = value_rows(self._plan, name_id, version_id)
        else:
            columns, rows = columns[_SAME:], (row[_SAME:] for row in value_rows(self._plan, 0, 0))
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            self._staging.add(VALUES.name, columns, batch)

    def wait(self) -> None:
        """Wait until the rows are written, or of no use."""
        self._staging.wait()

    @contextmanager
    def write(self) -> Iterator["StagedWriting"]:
        """Open the writing block."""
        made = partial(StagedWriting, staging=self._staging, staged=self._plan)
        try:
            with self._block(self._staging.writing(), made) as writing:
                assert isinstance(writing, StagedWriting)
                if not self._staging.is_in_tables:
                    self._check_parent(writing)
                yield writing
        finally:
            self.end()

    def end(self) -> None:
        """Give up the rows."""
        self._staging.end()

    def _insert_header(self, database: Database) -> tuple[int, int]:
        """Insert the version's header; return the ids of its config and of itself.

        From now on no other writer can insert a version of this number: it waits for this transaction. So nothing
        needs to be checked again later.
        """
        with self._staging.connection() as connection:
            writing = SqlWriting(connection, database, KnownRows())
            self._check_parent(writing)
            try:
                return _insert_header(writing, self._plan)
            except HistoryBrokenError:  # another writer has inserted it first
                raise OvertakenError from None

    def _check_parent(self, writing: SqlWriting) -> None:
        config = self._plan.version.config
        if writing.head_marks([config]).get(config) != self._parent:
            raise OvertakenError


class StagedWriting(SqlWriting):
    """A Writing that has the rows of one version staged already."""

    def __init__(
        self, connection: Connection, database: Database, known: KnownRows, *, staging: Staging, staged: Plan
    ) -> None:
        super().__init__(connection, database, known)
        self._staging = staging
        self._staged = staged

    def insert(self, plan: Plan) -> None:
        """Add one version. Of the staged one, the rows are there already, or are copied."""
        if plan is not self._staged:
            super().insert(plan)
        elif not self._staging.is_in_tables:
            name_id, version_id = _insert_header(super(), plan)
            same = dict(zip(VALUE_COLUMNS[:_SAME], (name_id, plan.version.number, version_id), strict=True))
            with self._guard, self._database.statement("insert"):
                copied = self._staging.copy(self._connection, VALUES.name, VALUE_COLUMNS[_SAME:], same)
            if copied != len(plan.values):  # a version that is not what its hash says would be damaged for ever
                raise OvertakenError


def _insert_header(writing: Any, plan: Plan) -> tuple[int, int]:
    """Insert a version's header alone. Return the ids of its config and of itself."""
    version = plan.version
    writing.insert(Plan(version, ()))
    (ids,) = writing.ask(_IDS_OF_VERSION, config=version.config, version=version.number)
    return ids.name_id, ids.id
