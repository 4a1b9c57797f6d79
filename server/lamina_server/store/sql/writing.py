"""A Writing over SQL: it collects what a block adds, and inserts all of it at once.

So a block of many commits costs a few bulk INSERTs. Knows no dialect, and decides nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import BigInteger, Connection, Table, Text, bindparam, select

from lamina_server.domain.hashing import NO_PARENT
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark, Reply, RequestKey
from lamina_server.domain.secrets import WrappedKey
from lamina_server.models.queries import Statement
from lamina_server.models.rows import VALUE_COLUMNS, VERSION_COLUMNS, Row, value_rows, version_cells
from lamina_server.models.tables import NAMES, REQUESTS, SECRET_KEYS, VALUES, VERSIONS
from lamina_server.store.contract import HistoryBrokenError
from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.keyframes import lines_to_write, originated_since_keyframe, write_lines
from lamina_server.store.sql.known import HeadRow, KnownRows
from lamina_server.store.sql.prepared import Numbered, Rows, prepared_insert
from lamina_server.store.sql.reading import SqlReading

_NAME_COLUMNS = ("id", "name")
_VERSION_COLUMNS = ("id", "config_name_id", *VERSION_COLUMNS)
_REQUEST_COLUMNS = ("caller", "request_id", "digest", "config_name", "config_id", "created", "merged")
_SECRET_KEY_COLUMNS = ("id", "number", "wrapping", "is_foreign", "check_digest", "outer_key", "wrapped")


def _id_of_version() -> Statement:
    """Select the id of `version` of `config`, for a reply whose version was not written by this block."""
    config, version = bindparam("config", type_=Text), bindparam("version", type_=BigInteger)
    joined = select(VERSIONS.c.id).join(NAMES, VERSIONS.c.config_name_id == NAMES.c.id)
    return joined.where(NAMES.c.name == config, VERSIONS.c.version == version)


_ID_OF_VERSION = _id_of_version()


class SqlWriting(SqlReading):
    """A Writing on a connection that has the write lock."""

    def __init__(
        self, connection: Connection, database: Database, known: KnownRows, *, beginning: Beginning | None = None
    ) -> None:
        super().__init__(connection, database)
        self._plans: list[Plan] = []
        self._outcomes: list[tuple[RequestKey, Reply]] = []
        self._heads, self._last_ids = known.heads, known.last_ids
        self._version_ids: dict[tuple[str, int], int] = {}
        self._has_remembered = False
        self._guard = _StatementGuard()
        self._requests: Mapping[tuple[str, str], bool] = {}
        self._ids_at_hand: Sequence[int] = ()
        if beginning is not None:
            self._heads |= beginning.heads()
            self._requests = beginning.requests()
            self._ids_at_hand = beginning.new_ids

    def insert(self, plan: Plan) -> None:
        """Add one version."""
        self._plans.append(plan)

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """Remember an outcome."""
        self._outcomes.append((request, reply))
        self._requests = {}

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """Return remembered outcomes. The end of this block makes them as durable as its own."""
        found = super().replies(caller, request_ids)
        self._has_remembered = self._has_remembered or bool(found)
        return found

    def add_secret_key(self, key: WrappedKey) -> None:
        """Add a data key."""
        wrapping = 1 + sum(each.number == key.number for each in self.secret_keys())
        (id_,) = self._new_ids(SECRET_KEYS.name, 1)
        row = (id_, key.number, wrapping, key.is_foreign, key.check, key.outer, key.wrapped)
        with self._guard, self._database.statement("insert"):
            statements = self._inserts(SECRET_KEYS, _SECRET_KEY_COLUMNS, [row])
            self._database.insert(self._connection, statements)

    def flush(self) -> None:
        """Insert what was added so far, and forget it: a block may add more than fits into memory."""
        self._flush()
        self._version_ids.clear()

    def originated_since_keyframe(self, config: str) -> int:
        """Count the values after the newest valid keyframe."""
        return originated_since_keyframe(self.ask, config)

    def write_keyframe(self, config: str) -> None:
        """Write a keyframe at the head, within this block."""
        lines = lines_to_write(self.ask, config)
        if lines:
            with self._guard:
                write_lines(self._connection, self._database, lines)

    def finish(self) -> None:
        """Insert what is left. Raise if the block is lost, so that it is not committed."""
        if self._guard.lost:
            raise self._guard.lost
        self._flush(is_last=not self._has_remembered)
        if self._has_remembered:
            with self._guard, self._database.statement("insert"):
                self._database.confirm_past(self._connection)

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        """Return the heads' numbers and hashes, and remember what the next inserts need."""
        self._flush()
        heads = self._heads
        if unknown := [config for config in configs if config not in heads]:
            for row in self._head_rows(unknown):
                heads[row.name] = HeadRow(row.id, row.version, row.hash, row.oldest)
        return {config: HeadMark(row.number, row.hash, row.oldest) for config in configs if (row := heads.get(config))}

    def oldest(self, config: str) -> int:
        """Return the oldest version whose map can be read. The write lock keeps it as it is."""
        mark = self.head_marks([config]).get(config)
        return mark.oldest if mark else 1

    def ask(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement after all inserts that came before it."""
        self._flush()
        with self._guard:
            return super().ask(statement, **parameters)

    def _known_among(self, caller: str, request_ids: Collection[str]) -> Collection[str]:
        """Return the request ids that may have an outcome, without a question if it was asked at the beginning."""
        asked = self._requests
        if any((caller, each) not in asked for each in request_ids):
            return super()._known_among(caller, request_ids)
        return [each for each in request_ids if asked[caller, each]]

    def _flush(self, *, is_last: bool = False) -> None:
        plans, self._plans = self._plans, []
        outcomes, self._outcomes = self._outcomes, []
        if not plans and not outcomes:
            return
        placed = self._placed(plans) if plans else []
        requests = [self._request_row(*outcome) for outcome in outcomes]
        statements = chain(
            self._inserts(
                VERSIONS, _VERSION_COLUMNS, ((id_, name, *version_cells(p.version)) for p, name, id_ in placed)
            ),
            self._inserts(VALUES, VALUE_COLUMNS, chain.from_iterable(value_rows(*each) for each in placed)),
            self._inserts(REQUESTS, _REQUEST_COLUMNS, requests),
        )
        with self._guard, self._database.statement("insert"):
            self._database.insert(self._connection, statements, is_last=is_last)

    def _placed(self, plans: Sequence[Plan]) -> Sequence[tuple[Plan, int, int]]:
        """Give an id to each new config, and to each version. Check again that each version follows its head.

        Return each plan with the ids of its config and its version.
        """
        heads, names = self._heads, dict.fromkeys([plan.version.config for plan in plans])
        self.head_marks(names)
        if new := [name for name in names if name not in heads]:
            self._insert_names(new)
        placed = []
        for plan, id_ in zip(plans, self._new_ids(VERSIONS.name, len(plans)), strict=True):
            version = plan.version
            config, number = version.config, version.number
            name_id, last, _, oldest = heads[config]
            if number != last + 1:
                with self._guard:
                    raise HistoryBrokenError.version(config, number, last)
            heads[config] = HeadRow(name_id, number, version.hash, oldest)
            self._version_ids[config, number] = id_
            placed.append((plan, name_id, id_))
        return placed

    def _insert_names(self, names: Sequence[str]) -> None:
        ids = self._new_ids(NAMES.name, len(names))
        with self._guard, self._database.statement("insert"):
            statements = self._inserts(NAMES, _NAME_COLUMNS, zip(ids, names, strict=True))
            self._database.insert(self._connection, statements)
        self._heads |= {name: HeadRow(id_, 0, NO_PARENT) for id_, name in zip(ids, names, strict=True)}

    def _new_ids(self, table: str, count: int) -> Sequence[int]:
        if table == VERSIONS.name and count <= len(self._ids_at_hand):
            ids, self._ids_at_hand = self._ids_at_hand[:count], self._ids_at_hand[count:]
            return ids
        last = self._last_ids.get(table)
        if last is not None:
            ids = range(last + 1, last + 1 + count)
        else:
            with self._guard, self._database.statement():
                ids = self._database.new_ids(self._connection, table, count)
        if not self._database.is_shared:
            self._last_ids[table] = ids[-1]
        return ids

    def _inserts(self, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[Numbered]:
        return prepared_insert(table, columns, self._connection.dialect).statements(rows)

    def _request_row(self, request: RequestKey, reply: Reply) -> Row:
        version_id = self._version_id(reply)
        return (
            request.caller,
            request.request_id,
            request.digest,
            reply.config,
            version_id,
            reply.created,
            reply.merged,
        )

    def _version_id(self, reply: Reply) -> int | None:
        """Find the id of a reply's version, which may be of this block or older."""
        if reply.version is None:
            return None
        place = (reply.config, reply.version.number)
        if place not in self._version_ids:
            # Not by `ask`, which would flush: this is called from `_flush`.
            with self._guard:
                rows = super().ask(_ID_OF_VERSION, config=place[0], version=place[1])
            self._version_ids[place] = rows[0].id
        return self._version_ids[place]


class _StatementGuard:
    """Remembers that a statement has failed and the block is lost, and then lets no other statement run.

    SQLite ends a transaction by itself on some errors. A later statement would be a transaction of its own.
    """

    def __init__(self) -> None:
        self.lost: Exception | None = None

    def __enter__(self) -> None:
        if self.lost:
            raise self.lost

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):
            self.lost = error
