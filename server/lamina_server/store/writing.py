"""A Writing over SQL: keeps what is inserted until something is read or the block ends, then inserts it all at once.

So a block of many commits costs a few bulk INSERTs. Knows no dialect, and decides nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, Connection, Insert, Text, and_, bindparam, insert, select

from lamina_server.errors import HashMismatchError
from lamina_server.models import value_columns, version_columns
from lamina_server.planning import Plan
from lamina_server.store import queries
from lamina_server.store.clauses import NAMES, REQUESTS, VALUES, VERSIONS, Statement
from lamina_server.store.contract import HistoryBrokenError
from lamina_server.store.database import Database, Rows
from lamina_server.store.reading import SqlReading
from lamina_server.versions import Reply, RequestKey

# The ids of a bulk INSERT come back in the order of its rows, and rise with it.
_INSERT_NAMES = insert(NAMES).returning(NAMES.c.id, sort_by_parameter_order=True)
_INSERT_VERSIONS = insert(VERSIONS).returning(VERSIONS.c.id, sort_by_parameter_order=True)
_INSERT_VALUES = insert(VALUES)

VALUES_AT_ONCE = 1_000
"""Rows of one bulk INSERT: their making must not leave a database in silence for long."""

# A reply's version may be of this block or of long ago: its id is looked up for each.
_REPLIED = (
    select(VERSIONS.c.id)
    .join(NAMES, VERSIONS.c.config_name_id == NAMES.c.id)
    .where(
        and_(
            NAMES.c.name == bindparam("of_config", type_=Text),
            VERSIONS.c.version == bindparam("of_version", type_=BigInteger),
        )
    )
    .scalar_subquery()
)
_INSERT_REQUESTS = insert(REQUESTS).values(config_id=_REPLIED)


class SqlWriting(SqlReading):
    """A Writing on a connection that has the write lock."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self._plans: list[Plan] = []
        self._outcomes: list[tuple[RequestKey, Reply]] = []
        self._lost: Exception | None = None

    def insert(self, plan: Plan) -> None:
        """Add one version."""
        self._plans.append(plan)

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """Keep an outcome."""
        self._outcomes.append((request, reply))

    def finish(self) -> None:
        """Insert what is left; raise where the block is lost, so that it is not committed."""
        self._flush()
        if self._lost:
            raise self._lost

    def ask(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement, after what was inserted before it."""
        self._flush()
        return self._run(statement, parameters)

    def _flush(self) -> None:
        plans, self._plans = self._plans, []
        outcomes, self._outcomes = self._outcomes, []
        if plans:
            self._insert_plans(plans)
        if outcomes:
            self._run(_INSERT_REQUESTS, [_request_row(*outcome) for outcome in outcomes])

    def _insert_plans(self, plans: Sequence[Plan]) -> None:
        names = list(dict.fromkeys(plan.version.config for plan in plans))
        known = {row.name: row for row in self._run(queries.heads(), {"names": names})}
        self._check_numbers(plans, {name: row.head for name, row in known.items()})
        name_ids = {name: row.id for name, row in known.items()}
        new = [name for name in names if name not in known]
        if new:
            name_ids |= zip(new, self._ids(_INSERT_NAMES, [{"name": name} for name in new]), strict=True)
        ids = self._ids(_INSERT_VERSIONS, [_version_row(plan, name_ids) for plan in plans])
        values = (row for plan, id_ in zip(plans, ids, strict=True) for row in _value_rows(plan, id_, name_ids))
        while batch := list(islice(values, VALUES_AT_ONCE)):
            self._run(_INSERT_VALUES, batch)

    def _check_numbers(self, plans: Iterable[Plan], heads: dict[str, int]) -> None:
        for plan in plans:
            config, number = plan.version.config, plan.version.number
            head = heads.get(config, 0)
            if number != head + 1:
                self._lost = HistoryBrokenError.version(config, number, head)
                raise self._lost
            heads[config] = number

    def _ids(self, statement: Insert, rows: list[dict[str, Any]]) -> list[int]:
        return [row.id for row in self._run(statement, rows)]

    def _run(self, statement: Any, parameters: Any) -> Rows:
        try:
            with self._database.asking():
                result = self._connection.execute(statement, parameters)
                return result.all() if result.returns_rows else ()
        except HashMismatchError:  # of one answer: the transaction is as it was
            raise
        except Exception as error:
            self._lost = error
            raise


def _version_row(plan: Plan, name_ids: dict[str, int]) -> dict[str, Any]:
    return {"config_name_id": name_ids[plan.version.config], **version_columns(plan.version)}


def _value_rows(plan: Plan, version_id: int, name_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    version = plan.version
    common = {
        "config_name_id": name_ids[version.config],
        "version": version.number,
        "originating_config_id": version_id,
    }
    for planned in plan.values:
        yield {**common, "name": planned.key, "digest": planned.digest, **value_columns(planned.value)}


def _request_row(request: RequestKey, reply: Reply) -> dict[str, Any]:
    return {
        "caller": request.caller,
        "request_id": request.request_id,
        "digest": request.digest,
        "config_name": reply.config,
        "created": reply.created,
        "merged": reply.merged,
        "of_config": reply.config,
        "of_version": reply.version.number if reply.version else 0,
    }
