"""Read-only views for people and their tools: the log, any key's history, any version's map."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from lamina_server.models.views import create_views

revision = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Make the views."""
    for statement in create_views(op.get_bind().dialect.name):
        op.execute(sa.text(statement))
