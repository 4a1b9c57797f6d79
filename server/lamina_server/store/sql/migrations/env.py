"""How Alembic runs our migrations: on the connection, and within the transaction, that it is handed."""

from alembic import context

from lamina_server.models.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
