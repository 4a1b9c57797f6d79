"""Compaction: the tables of cuts and of what is left of changes, and triggers that let their values go."""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from lamina_server.models.compaction_only import compaction_only
from lamina_server.models.triggers import insert_only
from lamina_server.models.views import create_views, drop_views
from lamina_server.store.contract import UnusableStoreError

revision = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

CUT, POINT, VALUE, LINE = "config_cut", "config_change_point", "config_value", "config_value_association"
KEYS = {CUT: [["config_name_id", "version"]], POINT: [["config_name_id", "version", "name"]]}
FOREIGN_KEY = "fk_config_value_association_config_value_id"


def upgrade() -> None:
    """Make the tables and their triggers, change the triggers of others, and make the views anew."""
    dialect = op.get_bind().dialect.name
    _config_cut()
    _config_change_point()
    if dialect == "sqlite":
        _drop_foreign_key_on_sqlite(op.get_bind())
    else:
        op.drop_constraint(op.f(FOREIGN_KEY), LINE, type_="foreignkey")
    statements = [
        *(each for table, keys in KEYS.items() for each in insert_only(dialect, table, keys)),
        *(each for table in (CUT, POINT, VALUE, LINE) for each in compaction_only(dialect, table)),
        *drop_views(),
        *create_views(dialect, with_secrets=True, with_cuts=True),
    ]
    for statement in statements:
        op.execute(sa.text(statement))


def _config_cut() -> None:
    op.create_table(
        CUT,
        sa.Column("config_name_id", BIGINT, nullable=False),
        sa.Column("version", BIGINT, nullable=False),
        sa.Column("cut_time_us", BIGINT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_config_cut_positive_version")),
        sa.ForeignKeyConstraint(["config_name_id"], ["config_name.id"], name=op.f("fk_config_cut_config_name_id")),
        sa.PrimaryKeyConstraint("config_name_id", "version", name=op.f("pk_config_cut")),
        sqlite_with_rowid=False,
    )


def _config_change_point() -> None:
    op.create_table(
        POINT,
        sa.Column("config_name_id", BIGINT, nullable=False),
        sa.Column("version", BIGINT, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("superseded_by", BIGINT, nullable=False),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_config_change_point_digest_length")),
        sa.PrimaryKeyConstraint("config_name_id", "version", "name", name=op.f("pk_config_change_point")),
        sqlite_with_rowid=False,
    )
    index = op.f("ix_config_change_point_config_name_id_name_version")
    op.create_index(index, POINT, ["config_name_id", "name", "version"])


def _drop_foreign_key_on_sqlite(connection: sa.Connection) -> None:
    """Take the foreign key out of the text of the table, as SQLite's page on ALTER TABLE describes it.

    No row is read or written, because every row that there is meets fewer conditions, too.
    """
    run = connection.exec_driver_sql
    (old,) = run(f"SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{LINE}'").one()  # noqa: S608 - our name
    new, count = re.subn(
        rf",\s*CONSTRAINT {FOREIGN_KEY} FOREIGN KEY\(config_value_id\) REFERENCES config_value \(id\)", "", old
    )
    if count != 1:
        raise UnusableStoreError(f"the table {LINE} is not as a release has made it: restore a backup")
    (number,) = run("PRAGMA schema_version").one()
    run("PRAGMA writable_schema = ON")
    run("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (new, LINE))
    run(f"PRAGMA schema_version = {number + 1}")  # so that every connection reads the new text
    run("PRAGMA writable_schema = OFF")
