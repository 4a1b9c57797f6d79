"""How Alembic runs our migrations: on the connection, and in the transaction, that the caller passes on."""

from alembic import context

from lamina_server.models.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
