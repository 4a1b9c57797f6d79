"""Triggers that let compaction take away what the history does not need, and let nobody take anything else.

They are made after those of triggers.py. What each table lets through, on both databases:

    config_cut                INSERT of a version that exists, and is newer than the cuts before
    config_change_point       INSERT of the digest of a value that exists, if there is a newer one up to the cut
    config_value              DELETE of a value whose digest is in a change point
    config_value_association  DELETE of the lines of a keyframe older than the cut

So whoever may delete, with whatever program: the newest value of each key up to the cut stays, and so does the digest
of each value that goes. PostgreSQL's function reads the tables in the schema of the session, as the server does.
"""

from collections.abc import Iterator
from typing import NamedTuple

_HAS_SAME = (
    "EXISTS (SELECT 1 FROM {table} s WHERE s.config_name_id = {row}.config_name_id AND s.version = {row}.version"
    " AND s.name = {row}.name AND s.deleted = {row}.deleted AND s.digest = {row}.digest)"
)
"""That a table has the digest of a row, at its place."""

_IS_SUPERSEDED = (
    "NEW.superseded_by > NEW.version"
    " AND NEW.superseded_by <= (SELECT max(k.version) FROM config_cut k WHERE k.config_name_id = NEW.config_name_id)"
    " AND EXISTS (SELECT 1 FROM config_value n WHERE n.config_name_id = NEW.config_name_id AND n.name = NEW.name"
    " AND n.version = NEW.superseded_by)"
)
"""That a newer value of the key is there, up to the cut. An equality finds it: a range would read a page of them."""

_IS_NEXT_CUT = (
    "EXISTS (SELECT 1 FROM config v WHERE v.config_name_id = NEW.config_name_id AND v.version = NEW.version)"
    " AND NOT EXISTS (SELECT 1 FROM config_cut k"
    " WHERE k.config_name_id = NEW.config_name_id AND k.version >= NEW.version)"
)

_IS_OF_OLD_KEYFRAME = (
    "EXISTS (SELECT 1 FROM config v WHERE v.id = OLD.config_id"
    " AND v.version < (SELECT max(k.version) FROM config_cut k WHERE k.config_name_id = v.config_name_id))"
)


class _Rule(NamedTuple):
    """What may be done to a row of a table, on which condition, and the words for anything else."""

    verb: str
    condition: str
    refusal: str


_RULES = {
    "config_cut": _Rule("INSERT", _IS_NEXT_CUT, "no such version, or no newer one than before"),
    "config_change_point": _Rule(
        "INSERT",
        f"{_HAS_SAME.format(table='config_value', row='NEW')} AND {_IS_SUPERSEDED}",
        "no cut has superseded such a value",
    ),
    "config_value": _Rule(
        "DELETE", _HAS_SAME.format(table="config_change_point", row="OLD"), "the value has no change point"
    ),
    "config_value_association": _Rule("DELETE", _IS_OF_OLD_KEYFRAME, "the keyframe is not older than a cut"),
}


def compaction_only(dialect: str, table: str) -> Iterator[str]:
    """Yield the statements for a table, after those that make it insert-only.

    Once released, what this yields never changes: see insert_only.
    """
    rule = _RULES.get(table)
    if rule is None:
        return
    verb, condition, why = rule
    refusal = f"lamina: {verb} on {table}, which is insert-only but for compaction: {why}"
    name = f"{table}_compaction_only"
    if dialect == "sqlite":
        if verb == "DELETE":
            yield f"DROP TRIGGER {table}_no_delete"
        yield (
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} WHEN NOT ({condition})"
            f" BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )
    elif dialect == "postgresql":
        if verb == "DELETE":
            yield f"DROP TRIGGER {table}_insert_only ON {table}"
            yield (
                f"CREATE TRIGGER {table}_insert_only BEFORE UPDATE OR TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION lamina_insert_only()"
            )
        row = {"INSERT": "NEW", "DELETE": "OLD"}[verb]
        yield (
            f"CREATE OR REPLACE FUNCTION lamina_{name}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
            f"BEGIN\n  IF {condition} THEN RETURN {row}; END IF;\n"
            f"  RAISE restrict_violation USING MESSAGE = '{refusal}';\nEND\n$$"
        )
        yield f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION lamina_{name}()"
