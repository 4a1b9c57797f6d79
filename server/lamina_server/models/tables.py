"""The eight tables of the versioned map, with their triggers and views; knows no ORM.

Worked example. Three commits to `payments/prod`: `{"x": 27, "y": 450}`, then `x = 28`,
then `y` deleted, and a keyframe written at the third:

    config (ConfigData)                 config_value (ConfigValue)
    id  version  key_count              id  version  name  value
     7        1          2               1        1  x     27
     8        2          2               2        1  y     450
     9        3          1               3        2  x     28
                                         4        3  y     (deleted)
    config_value_association
    config_id 9, config_value_id 3

The map at version 2 is version 1's values overlaid with version 2's. The map at 3 is
just what the keyframe holds. Rows are only ever added.

Compaction alone takes rows away (see triggers.py). With a cut at version 3:

    config_cut                          config_change_point
    config_name_id  version             version  name  digest           superseded_by
                 1        3                   1  x     that of value 1              2
                                              1  y     that of value 2              3

The values 1 and 2 are gone, because the map at 3 has no need of them. Version 1 keeps its header and the digests of its
changes, so that its hash can still be checked. Of each key, the newest value up to the cut stays.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from lamina_server.models import triggers, views

BIGINT = BigInteger().with_variant(Integer, "sqlite")  # SQLite takes a rowid from INTEGER alone, and it has 64 bits
NAME = Text().with_variant(Text(collation="C"), "postgresql")  # by code point on both

_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

METADATA = MetaData(naming_convention=_CONVENTION)


def _id() -> Column[int]:
    return Column("id", BIGINT, Identity(), primary_key=True)


NAMES = Table(
    "config_name",
    METADATA,
    _id(),
    Column("name", NAME, nullable=False),
    UniqueConstraint("name"),
    CheckConstraint("id > 0", "positive_id"),
)
"""One config: what is listed."""

VERSIONS = Table(
    "config",
    METADATA,
    _id(),
    Column("config_name_id", BIGINT, ForeignKey("config_name.id"), nullable=False),
    Column("version", BIGINT, nullable=False),
    Column("author", Text, nullable=False),
    Column("author_verified", Boolean, nullable=False),
    Column("message", Text, nullable=False),
    Column("commit_time_us", BIGINT, nullable=False),
    Column("key_count", BIGINT, nullable=False),
    Column("change_count", BIGINT, nullable=False),
    Column("size_bytes", BIGINT, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("source_config", Text),
    Column("source_version", BIGINT),
    Column("source_hash", LargeBinary),
    UniqueConstraint("config_name_id", "version"),
    CheckConstraint("id > 0", "positive_id"),
    CheckConstraint("version > 0", "positive_version"),
    CheckConstraint("length(hash) = 32", "hash_length"),
    CheckConstraint(
        "(source_version IS NULL) = (source_config IS NULL) AND (source_hash IS NULL) = (source_config IS NULL)",
        "whole_source",
    ),
)
"""One immutable version of one config's map."""

VALUES = Table(
    "config_value",
    METADATA,
    _id(),
    Column("config_name_id", BIGINT, ForeignKey("config_name.id"), nullable=False),
    Column("version", BIGINT, nullable=False),
    Column("originating_config_id", BIGINT, ForeignKey("config.id"), nullable=False),
    Column("name", NAME, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("int_value", BIGINT),
    Column("float_value", Double),
    Column("string_value", Text),
    Column("bytes_value", LargeBinary),
    Column("digest", LargeBinary, nullable=False),
    UniqueConstraint("config_name_id", "name", "version"),
    Index(None, "config_name_id", "version"),
    CheckConstraint("id > 0", "positive_id"),
    CheckConstraint("kind BETWEEN 0 AND 7", "kind"),
    CheckConstraint("length(digest) = 32", "digest_length"),
    CheckConstraint(
        "(NOT deleted OR kind = 0)"
        " AND (int_value IS NOT NULL) = (kind IN (1, 2))"
        " AND (float_value IS NOT NULL) = (kind = 3)"
        " AND (string_value IS NOT NULL) = (kind IN (4, 6))"
        " AND (bytes_value IS NOT NULL) = (kind IN (5, 7))",
        "one_column_by_kind",
    ),
)
"""One key set to a value, or deleted, by one version: which typed column holds it follows from `kind`."""

LINES = Table(
    "config_value_association",
    METADATA,
    Column("config_id", BIGINT, ForeignKey("config.id"), primary_key=True),
    # No foreign key: each value that compaction takes away would be looked up here, where no index has it. The lines of
    # a keyframe are checked before they are used.
    Column("config_value_id", BIGINT, primary_key=True),
    sqlite_with_rowid=False,  # a table that is its own primary key: SQLite then keeps one tree instead of two
)
"""One line of a keyframe: this version holds that value."""

REQUESTS = Table(
    "config_request",
    METADATA,
    Column("caller", NAME, primary_key=True),
    Column("request_id", NAME, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("config_name", NAME, nullable=False),
    Column("config_id", BIGINT, ForeignKey("config.id")),
    Column("created", Boolean, nullable=False),
    Column("merged", Boolean, nullable=False),
    CheckConstraint("length(digest) = 32", "digest_length"),
    sqlite_with_rowid=False,
)
"""The outcome of one write, under the request id of its caller; config_name is a text, not a reference."""

SECRET_KEYS = Table(
    "config_secret_key",
    METADATA,
    _id(),
    Column("number", BIGINT, nullable=False),
    Column("wrapping", BIGINT, nullable=False),
    Column("is_foreign", Boolean, nullable=False),
    Column("check_digest", LargeBinary, nullable=False),
    Column("outer_key", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    UniqueConstraint("number", "wrapping"),
    CheckConstraint("id > 0", "positive_id"),
    CheckConstraint("number > 0", "positive_number"),
    CheckConstraint("wrapping > 0", "positive_wrapping"),
    CheckConstraint("length(check_digest) = 32", "check_digest_length"),
)
"""One data key that seals secrets, wrapped by an outer key; a new outer key adds a row with the next `wrapping`."""

CUTS = Table(
    "config_cut",
    METADATA,
    Column("config_name_id", BIGINT, ForeignKey("config_name.id"), primary_key=True),
    Column("version", BIGINT, primary_key=True),
    Column("cut_time_us", BIGINT, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("version > 0", "positive_version"),
    sqlite_with_rowid=False,
)
"""One compaction of a config: the oldest version whose map can be read since. The newest one counts."""

POINTS = Table(
    "config_change_point",
    METADATA,
    Column("config_name_id", BIGINT, primary_key=True),
    Column("version", BIGINT, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("deleted", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("superseded_by", BIGINT, nullable=False),
    Index(None, "config_name_id", "name", "version"),
    CheckConstraint("length(digest) = 32", "digest_length"),
    sqlite_with_rowid=False,
)
"""What is left of a value that compaction has taken away: which version changed which key, and the digest.

`superseded_by` is a version up to the cut that changed the key again: so no map from the cut on has the value.
"""

for _table in METADATA.tables.values():
    triggers.attach(_table)
for _table in (CUTS, POINTS):
    VALUES.add_is_dependent_on(_table)
views.attach(VALUES)  # it is made after the others that they read
