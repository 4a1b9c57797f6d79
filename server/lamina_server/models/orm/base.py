"""The base of the models, and the two models that refer to no other. Knows the tables, and no session."""

from sqlalchemy.orm import DeclarativeBase, Mapped

from lamina_server.models import tables


class Base(DeclarativeBase):
    """The base of our models alone, by which the listeners recognise them."""

    metadata = tables.METADATA


class ConfigName(Base):
    """One config, by its name."""

    __table__ = tables.NAMES
    __tablename__ = "config_name"

    id: Mapped[int]
    name: Mapped[str]


class ConfigRequest(Base):
    """The outcome of one write, under the request id of its caller."""

    __table__ = tables.REQUESTS
    __tablename__ = "config_request"

    caller: Mapped[str]
    request_id: Mapped[str]
    digest: Mapped[bytes]
    config_name: Mapped[str]
    config_id: Mapped[int | None]
    created: Mapped[bool]
    merged: Mapped[bool]
