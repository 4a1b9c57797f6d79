"""How Alembic runs our migrations: on the connection, and within the transaction, that it is handed."""

from alembic import context

from lamina_server.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
