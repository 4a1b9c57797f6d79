"""How Alembic runs our migrations: on the connection, and in the transaction, that the caller passes on."""

from alembic import context

from lamina_server.models.tables import METADATA
from lamina_server.store.sql.revision import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, version_table=VERSION_TABLE)
context.run_migrations()
