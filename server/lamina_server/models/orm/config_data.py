"""ConfigData: a version whose map is a dict. It reads its map through its session; listeners.py makes new versions."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias
from weakref import ref

from sqlalchemy import inspect, select
from sqlalchemy.orm import Mapped, Session, foreign, object_session, relationship, validates
from sqlalchemy.orm.attributes import flag_dirty, set_committed_value
from sqlalchemy.orm.exc import DetachedInstanceError

from lamina_server.domain.names import check_author, check_config_name, check_message
from lamina_server.domain.planning import Author, Plan
from lamina_server.domain.records import Change, Entry
from lamina_server.models import tables
from lamina_server.models.orm.base import Base, ConfigName
from lamina_server.models.orm.data_map import DataMap
from lamina_server.models.orm.errors import InsertOnlyError
from lamina_server.models.orm.loading import read_entries
from lamina_server.models.orm.plain import plain_of_value
from lamina_server.models.rows import value_of, version_columns, version_of

DEFAULT_CONFIG = "default"
ANONYMOUS = "anonymous"

MapLike: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]


@dataclass(frozen=True)
class Memento:
    """What a ConfigData was. `row` holds its columns; it is None for an object that was in no database."""

    row: Mapping[str, Any] | None
    header: Mapping[str, str]
    entries: dict[str, Entry]
    changes: tuple[Change, ...]


class ConfigData(Base):
    """One immutable version of one config's map, and the way to the next.

    >>> config = ConfigData({"x": 27, "y": 450}, config="payments/prod", author="ada")

    Added to a session and flushed it is version 1. From then on it is changed like a dict:

    >>> config.data["x"] = 28

    and at the next flush this object becomes version 2, while version 1 stays as it was
    and can be read by its id. A flush without changes makes no version. Author and message
    belong to one version: assign them before the flush that makes it.

    A session's rollback makes the object the version again that it was before. Session.merge
    copies columns alone, without the edits, so add the object itself.
    """

    __allow_unmapped__ = True  # so that the annotations of the private attributes below need no Mapped

    __table__ = tables.VERSIONS
    __tablename__ = "config"

    id: Mapped[int]
    config_name_id: Mapped[int]
    version: Mapped[int]
    author: Mapped[str]
    author_verified: Mapped[bool]
    message: Mapped[str]
    commit_time_us: Mapped[int]
    key_count: Mapped[int]
    change_count: Mapped[int]
    size_bytes: Mapped[int]
    hash: Mapped[bytes]
    source_config: Mapped[str | None]
    source_version: Mapped[int | None]
    source_hash: Mapped[bytes | None]

    config_name: Mapped[ConfigName] = relationship(viewonly=True, lazy="joined", innerjoin=True)

    _config: str | None = None
    _is_first: bool = False
    """Whether the constructor has made this, and no flush has inserted it yet."""
    _map: DataMap | None = None
    _header: Mapping[str, str] = MappingProxyType({})
    """The author and the message that were assigned for the next version."""
    _last_session: ref[Session] | None = None
    _plan: Plan | None = None
    """The version that the flush under way must insert."""

    def __init__(
        self, data: MapLike, *, config: str = DEFAULT_CONFIG, author: str = ANONYMOUS, message: str = ""
    ) -> None:
        super().__init__()
        self._config = check_config_name(config)
        self._is_first = True
        self._map = DataMap(read=dict, on_edit=self._touch)
        self.author = author
        self.message = message
        self.data = data

    @property
    def config(self) -> str:
        """The name of the config that this is a version of."""
        if self._config is None:
            with self._no_autoflush():
                self._config = self.config_name.name
        return self._config

    @property
    def data(self) -> DataMap:
        """The map: a dict as described in data_map.py, read through the session when it is first needed."""
        if self._map is None:
            self._map = DataMap(read=self._read, on_edit=self._touch)
        return self._map

    @data.setter
    def data(self, data: MapLike) -> None:
        if data is not self.data:  # `config.data |= ...` assigns the same object
            self.data.replace(data)

    @property
    def elements(self) -> Mapping[str, "Element"]:
        """The map's values and their rows, by key: a read-only copy of the map as it is now."""
        return MappingProxyType({key: Element(self, key) for key in self.data})

    @validates("author", "message")
    def _note(self, field: str, text: str) -> str:
        self._header = {**self._header, field: check_author(text) if field == "author" else check_message(text)}
        return text

    # For flushes and rollbacks

    @property
    def is_first(self) -> bool:
        """Whether the constructor has made this, and it is in no database yet."""
        return self._is_first

    @property
    def header(self) -> tuple[Author, str]:
        """The author, who is never verified here, and the message of the next version."""
        return Author(self._header.get("author", ANONYMOUS)), self._header.get("message", "")

    def memento(self) -> Memento:
        """Return the object's present state, to which a rollback may restore it."""
        row = None if self._is_first else {name: getattr(self, name) for name in _COLUMNS}
        return Memento(row, self._header, self.data.entries, self.data.changes)

    def become(self, plan: Plan) -> None:
        """Become the planned version, which a flush will insert."""
        row = {**version_columns(plan.version), "id": None, "config_name_id": self.config_name_id}
        for name, value in row.items():
            setattr(self, name, value)
        self.data.rebase(plan.version.number)
        self._is_first, self._header, self._plan = False, {}, plan

    def take_plan(self) -> Plan:
        """Return the planned version, only once. Raise InsertOnlyError if there is none."""
        if self._plan is None:
            raise InsertOnlyError(f"{self!r} was not planned")
        plan, self._plan = self._plan, None
        return plan

    def restore(self, memento: Memento) -> None:
        """Restore the state of a memento. Edits of a version are lost; those of an object in no database stay."""
        row: Mapping[str, Any] = memento.header if memento.row is None else memento.row
        for name in _COLUMNS:
            set_committed_value(self, name, row.get(name))
        self._is_first, self._plan = memento.row is None, None
        self.data.reset(memento.entries, () if memento.row else memento.changes)
        self._header = {} if memento.row else memento.header

    def remember_session(self, session: Session) -> None:
        """Remember the session for `reattach`: to attach the object within a rollback would begin a transaction."""
        self._last_session = ref(session)

    def reattach(self) -> None:
        """Attach this again to the session from which a rollback has detached it.

        Raises DetachedInstanceError if another object has become this version in that session.
        """
        session = self._last_session() if self._last_session else None
        if session is not None and object_session(self) is None:
            key = inspect(self).key
            if key and key in session.identity_map:
                raise DetachedInstanceError(f"another object is {self!r} in the session since its rollback: use that")
            session.add(self)
        self._last_session = None

    def load_row(self) -> None:
        """Load the expired columns now, without an autoflush.

        An autoflush during the load would make this object the next version, and the load
        would then fill it with the row of the version before.
        """
        expired = inspect(self).expired_attributes.intersection(_COLUMNS)
        with self._no_autoflush():
            for name in expired:  # the first one loads them all
                getattr(self, name)

    def discard(self) -> None:
        """Forget the edits, and the author and message of the next version."""
        self._header = {}
        if self._map is not None:
            self._map.discard()

    def _touch(self) -> None:
        self.reattach()
        self.load_row()
        flag_dirty(self)  # the session flushes it, though no column differs

    def _no_autoflush(self) -> AbstractContextManager[Any]:
        session = object_session(self)
        return session.no_autoflush if session else nullcontext()

    def _read(self) -> dict[str, Entry]:
        return read_entries(object_session(self), version_of(self, self.config))

    def __repr__(self) -> str:
        row = inspect(self).dict  # loads nothing
        return f"<ConfigData {self._config or row.get('config_name_id')} version {row.get('version')}>"


_COLUMNS = tuple(column.name for column in ConfigData.__table__.columns)


class ConfigValue(Base):
    """One key set to a value, or deleted, by one version. Immutable.

    `kind` says which typed column holds the value: integers and booleans are in int_value,
    strings and JSON text in string_value. A tombstone has the kind NULL.
    """

    __table__ = tables.VALUES
    __tablename__ = "config_value"

    id: Mapped[int]
    config_name_id: Mapped[int]
    version: Mapped[int]
    originating_config_id: Mapped[int]
    name: Mapped[str]
    kind: Mapped[int]
    deleted: Mapped[bool]
    int_value: Mapped[int | None]
    float_value: Mapped[float | None]
    string_value: Mapped[str | None]
    bytes_value: Mapped[bytes | None]
    digest: Mapped[bytes]

    originating_config: Mapped[ConfigData] = relationship(viewonly=True)

    @property
    def value(self) -> Any:
        """The value as a plain Python object. None is a null, or a tombstone if `deleted` is true."""
        value = value_of(self)
        return None if value is None else plain_of_value(value)


class ConfigValueAssociation(Base):
    """One line of a keyframe: this version holds that value."""

    __table__ = tables.LINES
    __tablename__ = "config_value_association"

    config_id: Mapped[int]
    config_value_id: Mapped[int]

    config_data: Mapped[ConfigData] = relationship(viewonly=True)
    config_value: Mapped[ConfigValue] = relationship(
        primaryjoin=lambda: foreign(ConfigValueAssociation.config_value_id) == ConfigValue.id,
        viewonly=True,
        lazy="joined",
        innerjoin=True,
    )

    @property
    def name(self) -> str:
        """The value's key."""
        return self.config_value.name

    @property
    def value(self) -> Any:
        """The value as a plain Python object."""
        return self.config_value.value


class Element:
    """One key of a version, with its value and the row of the value.

    SQLAlchemy's recipe has an association row in its place. Lamina has such rows for keyframes alone.
    """

    def __init__(self, config: ConfigData, name: str) -> None:
        self.name = name
        self.value = config.data[name]
        self._config = config
        self._origin = None if config.data.is_edited(name) else config.data.entries[name].origin

    @property
    def config_value(self) -> ConfigValue | None:
        """The row, read through the session; None for an edit that is not flushed yet."""
        session = object_session(self._config)
        if session is None or self._origin is None:
            return None
        statement = select(ConfigValue).where(
            ConfigValue.config_name_id == self._config.config_name_id,
            ConfigValue.name == self.name,
            ConfigValue.version == self._origin,
        )
        with session.no_autoflush:
            return session.scalars(statement).one()

    def __repr__(self) -> str:
        return f"<Element {self.name!r} of {self._config!r}>"
