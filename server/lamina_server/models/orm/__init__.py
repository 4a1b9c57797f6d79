"""The versioned models as ORM classes, over the tables of `lamina_server.models.tables`.

Knows sessions and flushes; the server itself does not use it. Begin with config_data.py.
"""

from lamina_server.models.orm import listeners  # noqa: F401 - importing them makes sessions listen
from lamina_server.models.orm.base import Base, ConfigName, ConfigRequest
from lamina_server.models.orm.config_data import ConfigData, ConfigValue, ConfigValueAssociation, Element
from lamina_server.models.orm.data_map import DataMap
from lamina_server.models.orm.errors import InsertOnlyError, StaleVersion
from lamina_server.models.orm.plain import Sealed

__all__ = [
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
]
