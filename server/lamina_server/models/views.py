r"""Read-only views that show versions, maps and histories to any SQL tool. Knows no session.

They are made with the tables, by create_all and by the migrations alike, from one text for
both databases but for what `_Words` holds. Each joins tables, so that neither database
takes an INSERT, UPDATE or DELETE through it.

    lamina_log          every version of every config
    lamina_key_history  every change of every key
    lamina_map          the whole map at every version
    lamina_head         the whole map at the newest version

A map is read without keyframes, which may be missing or invalid: for each key that the
config ever had, the newest value that is not younger than the version. Keys are found by
walking the index (config_name_id, name, version) from one name to the next. Worked example,
of the rows in tables.py at version 2:

    the first name is x; the first after x is y; after y there is none
    the newest value of x up to version 2 is value 3, x = 28
    the newest value of y up to version 2 is value 2, y = 450

So a map costs two look-ups for each key that the config ever had, however long its past is.

Of a config that was compacted, the maps from its newest cut on are shown, and all of its versions and changes. A change
whose value is gone has no kind and no value, and `compacted` says why.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, event, text

VIEWS = ("lamina_log", "lamina_key_history", "lamina_map", "lamina_head")


class _Words(NamedTuple):
    """What the databases say differently.

    time    a version's commit time: a timestamp, or where there is no such type its ISO 8601 text
    hash    a version's hash in hexadecimal digits
    float   a float as text: the fewest digits that read back as the same number
    bytes   bytes as text
    values  a FROM clause for a version `c` of a config: its value `v` of each key, tombstones too
    """

    time: str
    hash: str
    float: str
    bytes: str
    values: str


_KEYS = """
      WITH RECURSIVE keys(name) AS (
        SELECT min(f.name) FROM config_value f WHERE f.config_name_id = c.config_name_id
        UNION ALL
        SELECT (SELECT min(f.name) FROM config_value f WHERE f.config_name_id = c.config_name_id AND f.name > keys.name)
        FROM keys WHERE keys.name IS NOT NULL
      )"""

_POSTGRESQL = _Words(
    # An interval of 1 µs times a count is exact up to the year 2255; to_timestamp() takes binary fractions of seconds.
    time="timestamp with time zone 'epoch' + c.commit_time_us * interval '1 microsecond'",
    hash="encode(c.hash, 'hex')",
    float="CAST(v.float_value AS text)",
    bytes=r"'\x' || encode(v.bytes_value, 'hex')",
    # Compared and ordered by (name, version), which only the index by name can do: over the one by version, a planner
    # might walk back through all that happened since the key was set. The row before may be another key's.
    values=f"""
    CROSS JOIN LATERAL ({_KEYS}
      SELECT keys.name FROM keys WHERE keys.name IS NOT NULL
    ) k
    CROSS JOIN LATERAL (
      SELECT o.* FROM config_value o
      WHERE o.config_name_id = c.config_name_id AND (o.name, o.version) <= (k.name, c.version)
      ORDER BY o.name DESC, o.version DESC LIMIT 1
    ) v
    WHERE v.name = k.name""",  # noqa: S608 - all of these are our own texts
)

# PostgreSQL's way to write a float, in SQLite's words. Fifteen digits are always right, and do for nearly all that is
# written by hand. Some floats need sixteen or seventeen; SQLite's arithmetic at times gets the last of them wrong. From
# 1e15 on there is an exponent, which %g begins only at as many digits as it was asked for.
_SQLITE_FLOAT = """CASE
      WHEN CAST(printf('%.15g', v.float_value) AS REAL) = v.float_value THEN printf('%.15g', v.float_value)
      WHEN CAST(printf('%.16g', v.float_value) AS REAL) = v.float_value AND abs(v.float_value) < 1e15
        THEN printf('%.16g', v.float_value)
      WHEN CAST(printf('%.15e', v.float_value) AS REAL) = v.float_value THEN printf('%.15e', v.float_value)
      WHEN abs(v.float_value) < 1e15 THEN printf('%!.17g', v.float_value)
      ELSE printf('%!.16e', v.float_value)
    END"""

_SQLITE = _Words(
    time=(
        "strftime('%Y-%m-%dT%H:%M:%S', c.commit_time_us / 1000000, 'unixepoch')"
        " || printf('.%06dZ', c.commit_time_us % 1000000)"
    ),
    hash="lower(hex(c.hash))",
    float=_SQLITE_FLOAT,
    bytes=r"'\x' || lower(hex(v.bytes_value))",
    values=f"""
    JOIN config_value v ON v.id IN ({_KEYS}
      SELECT (
        SELECT o.id FROM config_value o
        WHERE o.config_name_id = c.config_name_id AND o.name = keys.name AND o.version <= c.version
        ORDER BY o.version DESC LIMIT 1
      ) FROM keys WHERE keys.name IS NOT NULL
    )
    WHERE true""",  # noqa: S608
)

_WORDS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}

_VALUE = """
    CASE WHEN v.deleted THEN NULL ELSE
      CASE v.kind
        WHEN 0 THEN 'null' WHEN 1 THEN 'boolean' WHEN 2 THEN 'integer' WHEN 3 THEN 'float'
        WHEN 4 THEN 'string' WHEN 5 THEN 'bytes' WHEN 6 THEN 'json'{secret}
      END
    END AS kind,
    CASE v.kind
      WHEN 1 THEN CASE WHEN v.int_value = 0 THEN 'false' ELSE 'true' END
      WHEN 2 THEN CAST(v.int_value AS text)
      WHEN 3 THEN {float}
      WHEN 5 THEN {bytes}
      ELSE v.string_value
    END AS value,
    CASE v.kind WHEN 2 THEN CAST(v.int_value AS double precision) WHEN 3 THEN v.float_value END AS number"""


_OLDEST = "coalesce((SELECT max(k.version) FROM config_cut k WHERE k.config_name_id = n.id), 1)"
"""The oldest version of a config `n` whose map can be read."""

_COMPACTED_CHANGES = """
  UNION ALL
  SELECT n.name AS config, p.name AS key, p.version, c.author, c.message,
    {time} AS time,
    p.deleted, CAST(NULL AS text) AS kind, CAST(NULL AS text) AS value, CAST(NULL AS double precision) AS number,
    NOT p.deleted AS compacted
  FROM config_name n
    JOIN config_change_point p ON p.config_name_id = n.id
    JOIN config c ON c.config_name_id = p.config_name_id AND c.version = p.version"""


def create_views(dialect: str, *, with_secrets: bool = False, with_cuts: bool = False) -> Iterator[str]:
    """Yield the statements that make the views.

    with_secrets  whether they name the kind of secrets, whose value they never show: since revision 0003
    with_cuts     whether they know of compaction: since revision 0004

    Migrations call this too. So once released, what it yields never changes: databases that
    exist would keep the old views. A change is a new function and a new migration.
    """
    words = _WORDS.get(dialect)
    if words is None:
        return
    secret = " WHEN 7 THEN 'secret'" if with_secrets else ""
    value = _VALUE.format(float=words.float, bytes=words.bytes, secret=secret)
    compacted = f",\n    c.version < {_OLDEST} AS compacted" if with_cuts else ""
    kept = ",\n    false AS compacted" if with_cuts else ""
    gone = _COMPACTED_CHANGES.format(time=words.time) if with_cuts else ""
    readable = f" AND c.version >= {_OLDEST}" if with_cuts else ""
    yield f"""CREATE VIEW lamina_log AS
  SELECT n.name AS config, c.version, c.author, c.author_verified, c.message,
    {words.time} AS time,
    c.key_count, c.change_count, c.size_bytes, {words.hash} AS hash, c.source_config, c.source_version{compacted}
  FROM config_name n
    JOIN config c ON c.config_name_id = n.id"""  # noqa: S608
    yield f"""CREATE VIEW lamina_key_history AS
  SELECT n.name AS config, v.name AS key, v.version, c.author, c.message,
    {words.time} AS time,
    v.deleted,{value}{kept}
  FROM config_name n
    JOIN config_value v ON v.config_name_id = n.id
    JOIN config c ON c.id = v.originating_config_id{gone}"""  # noqa: S608
    yield _map("lamina_map", words, value, readable)
    newest = "SELECT max(h.version) FROM config h WHERE h.config_name_id = n.id"
    yield _map("lamina_head", words, value, f" AND c.version = ({newest})")


def drop_views() -> Iterator[str]:
    """Yield the statements that remove the views, as far as they are there."""
    return (f"DROP VIEW IF EXISTS {view}" for view in VIEWS)


def attach(table: Table) -> None:
    """Make the views whenever a table is created, the last of those that they read, and drop them before it is."""
    event.listen(table, "after_create", _create)
    event.listen(table, "before_drop", _drop)


def _map(view: str, words: _Words, value: str, versions: str = "") -> str:
    return f"""CREATE VIEW {view} AS
  SELECT n.name AS config, c.version, v.name AS key,{value},
    v.version AS origin
  FROM config_name n
    JOIN config c ON c.config_name_id = n.id{versions}{words.values} AND NOT v.deleted"""  # noqa: S608


def _create(_table: Table, connection: Connection, **_options: Any) -> None:
    for statement in create_views(connection.dialect.name, with_secrets=True, with_cuts=True):
        connection.execute(text(statement))


def _drop(_table: Table, connection: Connection, **_options: Any) -> None:
    for statement in drop_views():
        connection.execute(text(statement))
