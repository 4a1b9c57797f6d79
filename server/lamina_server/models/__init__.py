"""The versioned models: one immutable row per version and per value, only ever inserted.

with Session(engine) as session:
    config = ConfigData({"x": 27, "y": 450}, config="payments/prod")
    session.add(config)
    session.commit()  # version 1
    config.data["x"] = 28
    session.commit()  # version 2; version 1 stays, and session.get() reads it by its id
"""

from lamina_server.models import listeners, triggers, views  # noqa: F401 - importing the listeners makes sessions listen
from lamina_server.models.config_data import ConfigData, Element
from lamina_server.models.locking import WRITE_LOCK_ID, lock_writers
from lamina_server.models.mapping import DataMap
from lamina_server.models.refusals import InsertOnlyError, StaleVersion
from lamina_server.models.rows import checked_value_of, value_columns, value_of, version_columns, version_of
from lamina_server.models.tables import Base, ConfigName, ConfigRequest, ConfigValue, ConfigValueAssociation

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
    "StaleVersion",
    "checked_value_of",
    "lock_writers",
    "value_columns",
    "value_of",
    "version_columns",
    "version_of",
]

for _table in Base.metadata.tables.values():
    triggers.attach(_table)
views.attach(Base.metadata.tables[ConfigValue.__tablename__])  # it refers to the others
