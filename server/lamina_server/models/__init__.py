"""The versioned models: one immutable row per version and per value, only ever inserted."""

from lamina_server.models.locking import WRITE_LOCK_ID, lock_writers
from lamina_server.models.rows import checked_value_of, value_columns, value_of, version_columns, version_of
from lamina_server.models.tables import (
    Base,
    ConfigData,
    ConfigName,
    ConfigRequest,
    ConfigValue,
    ConfigValueAssociation,
)

__all__ = [
    "WRITE_LOCK_ID",
    "Base",
    "ConfigData",
    "ConfigName",
    "ConfigRequest",
    "ConfigValue",
    "ConfigValueAssociation",
    "checked_value_of",
    "lock_writers",
    "value_columns",
    "value_of",
    "version_columns",
    "version_of",
]
