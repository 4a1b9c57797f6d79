"""What a writing block asks at its beginning, for a database that can answer it in the round trip of the write lock."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lamina_server.models.queries import Statement
from lamina_server.models.tables import VERSIONS
from lamina_server.store.contract import Expected
from lamina_server.store.sql.known import HeadRow
from lamina_server.store.sql.prepared import Rows
from lamina_server.store.sql.queries import versions as queries

QUESTIONS_KEYS = 1_000
"""Configs, or request ids of a caller, that are asked for at the beginning. Others are asked for later."""


class Beginning:
    """The questions, and then their answers, which must be of after the write lock was taken.

    questions  statements with their parameters
    ids        a table, and how many new ids of it
    answers    the rows of each question
    new_ids    of that table, which are for this block alone
    """

    def __init__(self, expected: Expected) -> None:
        self.questions: list[tuple[Statement, Mapping[str, Any]]] = []
        self.ids = (VERSIONS.name, expected.versions)
        self.answers: Sequence[Rows] = ()
        self.new_ids: Sequence[int] = ()
        self._callers = {caller: ids[:QUESTIONS_KEYS] for caller, ids in expected.request_ids.items()}
        self.questions.append((queries.heads(), {"keys": _json(expected.configs[:QUESTIONS_KEYS])}))
        for caller, ids in self._callers.items():
            self.questions.append((queries.known_requests(), {"caller": caller, "keys": _json(ids)}))

    def heads(self) -> dict[str, HeadRow]:
        """Return the heads of those configs that exist; none if nothing was answered."""
        return {
            row.name: HeadRow(row.id, row.version, row.hash, row.oldest) for rows in self.answers[:1] for row in rows
        }

    def requests(self) -> dict[tuple[str, str], bool]:
        """Return of each request id that was asked for whether it has an outcome; none if nothing was answered."""
        found = {}
        for (caller, ids), rows in zip(self._callers.items(), self.answers[1:], strict=bool(self.answers)):
            known = {row.request_id for row in rows}
            found.update({(caller, id_): id_ in known for id_ in ids})
        return found


def _json(keys: Collection[str]) -> str:
    return json.dumps(list(keys), ensure_ascii=False)
