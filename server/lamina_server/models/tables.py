"""The five tables of the versioned map, as ORM classes; knows nothing of sessions, flushes or triggers.

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
"""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from lamina_server.models.plain import plain_of_value
from lamina_server.models.rows import value_of

if TYPE_CHECKING:
    from lamina_server.models.config_data import ConfigData

BIGINT = BigInteger().with_variant(Integer, "sqlite")  # SQLite takes a rowid from INTEGER alone, and it has 64 bits
NAME = Text().with_variant(Text(collation="C"), "postgresql")  # by code point on both

Id: TypeAlias = Annotated[int, mapped_column(BIGINT, Identity(), primary_key=True)]
Big: TypeAlias = Annotated[int, mapped_column(BIGINT)]
Name: TypeAlias = Annotated[str, mapped_column(NAME)]
LongText: TypeAlias = Annotated[str, mapped_column(Text)]
Digest: TypeAlias = Annotated[bytes, mapped_column(LargeBinary)]

_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

WITHOUT_ROWID = {"sqlite_with_rowid": False}
"""For tables that are their own primary key: SQLite then keeps one tree instead of two."""


class Base(DeclarativeBase):
    """Base of our models, and of nobody else's: the listeners know them by it."""

    metadata = MetaData(naming_convention=_CONVENTION)


class ConfigName(Base):
    """One config: what is listed."""

    __tablename__ = "config_name"
    __table_args__ = (UniqueConstraint("name"), CheckConstraint("id > 0", "positive_id"))

    id: Mapped[Id]
    name: Mapped[Name]


class VersionRow:
    """One immutable version of one config's map: the columns of ConfigData."""

    __tablename__ = "config"
    __table_args__ = (
        UniqueConstraint("config_name_id", "version"),
        CheckConstraint("id > 0", "positive_id"),
        CheckConstraint("version > 0", "positive_version"),
        CheckConstraint("length(hash) = 32", "hash_length"),
        CheckConstraint(
            "(source_version IS NULL) = (source_config IS NULL) AND (source_hash IS NULL) = (source_config IS NULL)",
            "whole_source",
        ),
    )

    id: Mapped[Id]
    config_name_id: Mapped[int] = mapped_column(BIGINT, ForeignKey("config_name.id"))
    version: Mapped[Big]
    author: Mapped[LongText]
    author_verified: Mapped[bool]
    message: Mapped[LongText]
    commit_time_us: Mapped[Big]
    key_count: Mapped[Big]
    change_count: Mapped[Big]
    size_bytes: Mapped[Big]
    hash: Mapped[Digest]
    source_config: Mapped[LongText | None]
    source_version: Mapped[Big | None]
    source_hash: Mapped[Digest | None]


class ConfigValue(Base):
    """One key set to a value, or deleted, by one version. Immutable.

    Which typed column holds the value follows from `kind`: integers and booleans stand
    in int_value, strings and JSON text in string_value. A tombstone is of kind NULL.
    """

    __tablename__ = "config_value"
    __table_args__ = (
        UniqueConstraint("config_name_id", "name", "version"),
        Index(None, "config_name_id", "version"),
        CheckConstraint("id > 0", "positive_id"),
        CheckConstraint("kind BETWEEN 0 AND 6", "kind"),
        CheckConstraint("length(digest) = 32", "digest_length"),
        CheckConstraint(
            "(NOT deleted OR kind = 0)"
            " AND (int_value IS NOT NULL) = (kind IN (1, 2))"
            " AND (float_value IS NOT NULL) = (kind = 3)"
            " AND (string_value IS NOT NULL) = (kind IN (4, 6))"
            " AND (bytes_value IS NOT NULL) = (kind = 5)",
            "one_column_by_kind",
        ),
    )

    id: Mapped[Id]
    config_name_id: Mapped[int] = mapped_column(BIGINT, ForeignKey("config_name.id"))
    version: Mapped[Big]
    originating_config_id: Mapped[int] = mapped_column(BIGINT, ForeignKey("config.id"))
    name: Mapped[Name]
    kind: Mapped[int] = mapped_column(SmallInteger)
    deleted: Mapped[bool]
    int_value: Mapped[Big | None]
    float_value: Mapped[float | None] = mapped_column(Double)
    string_value: Mapped[LongText | None]
    bytes_value: Mapped[bytes | None] = mapped_column(LargeBinary)
    digest: Mapped[Digest]

    originating_config: Mapped["ConfigData"] = relationship(viewonly=True)

    @property
    def value(self) -> Any:
        """The value as plain Python has it; None for a tombstone too, which `deleted` tells from a null."""
        value = value_of(self)
        return None if value is None else plain_of_value(value)


class ConfigValueAssociation(Base):
    """One line of a keyframe: this version holds that value."""

    __tablename__ = "config_value_association"
    __table_args__ = WITHOUT_ROWID

    config_id: Mapped[int] = mapped_column(BIGINT, ForeignKey("config.id"), primary_key=True)
    config_value_id: Mapped[int] = mapped_column(BIGINT, ForeignKey("config_value.id"), primary_key=True)

    config_data: Mapped["ConfigData"] = relationship(viewonly=True)
    config_value: Mapped[ConfigValue] = relationship(viewonly=True, lazy="joined", innerjoin=True)

    @property
    def name(self) -> str:
        """The value's key."""
        return self.config_value.name

    @property
    def value(self) -> Any:
        """The value as plain Python has it."""
        return self.config_value.value


class ConfigRequest(Base):
    """The outcome of one write, under the request id of whoever asked for it.

    config_name is a text, not a reference: a commit of nothing to a config that does not
    exist has an outcome too, and no config_id.
    """

    __tablename__ = "config_request"
    __table_args__ = (CheckConstraint("length(digest) = 32", "digest_length"), WITHOUT_ROWID)

    caller: Mapped[Name] = mapped_column(primary_key=True)
    request_id: Mapped[Name] = mapped_column(primary_key=True)
    digest: Mapped[Digest]
    config_name: Mapped[Name]
    config_id: Mapped[int | None] = mapped_column(BIGINT, ForeignKey("config.id"))
    created: Mapped[bool]
    merged: Mapped[bool]
