"""Secrets: a kind of values, and the table of the data keys that seal them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from lamina_server.models.triggers import insert_only
from lamina_server.models.views import create_views, drop_views
from lamina_server.store.contract import UnusableStoreError

revision = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

OLD_KIND, KIND = "kind BETWEEN 0 AND 6", "kind BETWEEN 0 AND 7"
OLD_COLUMN, COLUMN = "(bytes_value IS NOT NULL) = (kind = 5)", "(bytes_value IS NOT NULL) = (kind IN (5, 7))"
ONE_COLUMN_BY_KIND = (
    "(NOT deleted OR kind = 0)"
    " AND (int_value IS NOT NULL) = (kind IN (1, 2))"
    " AND (float_value IS NOT NULL) = (kind = 3)"
    f" AND (string_value IS NOT NULL) = (kind IN (4, 6)) AND {COLUMN}"
)


def upgrade() -> None:
    """Allow the kind, make the table, and make the views anew: they name kinds."""
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        _allow_on_sqlite(op.get_bind())
    else:
        _allow()
    _config_secret_key()
    statements = [
        *insert_only(dialect, "config_secret_key", [["id"], ["number", "wrapping"]]),
        *drop_views(),
        *create_views(dialect, with_secrets=True),
    ]
    for statement in statements:
        op.execute(sa.text(statement))


def _allow() -> None:
    for name, condition in (("kind", KIND), ("one_column_by_kind", ONE_COLUMN_BY_KIND)):
        op.drop_constraint(op.f(f"ck_config_value_{name}"), "config_value", type_="check")
        op.create_check_constraint(op.f(f"ck_config_value_{name}"), "config_value", sa.text(condition))


def _allow_on_sqlite(connection: sa.Connection) -> None:
    """Change the two conditions in the text of the table, as SQLite's page on ALTER TABLE describes it.

    No row is read or written, because every row that there is meets the new conditions, too.
    """
    run = connection.exec_driver_sql
    (old,) = run("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'config_value'").one()
    new = old.replace(OLD_KIND, KIND).replace(OLD_COLUMN, COLUMN)
    if KIND not in new or COLUMN not in new:
        raise UnusableStoreError("the table config_value is not as a release has made it: restore a backup")
    (number,) = run("PRAGMA schema_version").one()
    run("PRAGMA writable_schema = ON")
    run("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = 'config_value'", (new,))
    run(f"PRAGMA schema_version = {number + 1}")  # so that every connection reads the new text
    run("PRAGMA writable_schema = OFF")


def _config_secret_key() -> None:
    table = "config_secret_key"
    op.create_table(
        table,
        sa.Column("id", BIGINT, sa.Identity(), nullable=False),
        sa.Column("number", BIGINT, nullable=False),
        sa.Column("wrapping", BIGINT, nullable=False),
        sa.Column("is_foreign", sa.Boolean(), nullable=False),
        sa.Column("check_digest", sa.LargeBinary(), nullable=False),
        sa.Column("outer_key", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id > 0", name=op.f(f"ck_{table}_positive_id")),
        sa.CheckConstraint("number > 0", name=op.f(f"ck_{table}_positive_number")),
        sa.CheckConstraint("wrapping > 0", name=op.f(f"ck_{table}_positive_wrapping")),
        sa.CheckConstraint("length(check_digest) = 32", name=op.f(f"ck_{table}_check_digest_length")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("number", "wrapping", name=op.f(f"uq_{table}_number_wrapping")),
    )
