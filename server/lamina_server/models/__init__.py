"""The versioned models: one immutable row per version and per value, only ever inserted.

with Session(engine) as session:
    config = ConfigData({"x": 27, "y": 450}, config="payments/prod")
    session.add(config)
    session.commit()  # version 1
    config.data["x"] = 28
    session.commit()  # version 2; version 1 stays, and session.get() reads it by its id

The room knows the domain and SQLAlchemy, and no server. Begin with tables.py: the tables, in SQLAlchemy Core,
which the store uses, too; keyframes.py reads a whole map from them. orm/ maps the classes above over the same tables.
They are imported when they are first asked for, because importing them registers listeners on every Session of the
process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina_server.models.locking import WRITE_LOCK_ID, lock_writers
    from lamina_server.models.orm.base import Base, ConfigName, ConfigRequest
    from lamina_server.models.orm.config_data import ConfigData, ConfigValue, ConfigValueAssociation, Element
    from lamina_server.models.orm.data_map import DataMap
    from lamina_server.models.orm.errors import InsertOnlyError, StaleVersion
    from lamina_server.models.orm.plain import Sealed
    from lamina_server.models.rows import checked_value_of, value_columns, value_of, version_columns, version_of

__all__ = [
    "WRITE_LOCK_ID",
    "Base",
    "ConfigData",
    "ConfigName",
    "ConfigRequest",
    "ConfigValue",
    "ConfigValueAssociation",
    "DataMap",
    "Element",
    "InsertOnlyError",
    "Sealed",
    "StaleVersion",
    "checked_value_of",
    "lock_writers",
    "value_columns",
    "value_of",
    "version_columns",
    "version_of",
]

_MODULES = {
    "locking": ("WRITE_LOCK_ID", "lock_writers"),
    "rows": ("checked_value_of", "value_columns", "value_of", "version_columns", "version_of"),
}
"""Where the names live that need no ORM; all others are in orm."""

if not TYPE_CHECKING:  # a checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = next((module for module, names in _MODULES.items() if name in names), "orm")
        value = globals()[name] = getattr(import_module(f"lamina_server.models.{module}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
