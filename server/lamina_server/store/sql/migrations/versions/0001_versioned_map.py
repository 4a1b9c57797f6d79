"""The versioned map: five tables that take INSERTs and nothing else."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from lamina_server.models.triggers import insert_only

revision = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

KEYS = {
    "config_name": [["id"], ["name"]],
    "config": [["config_name_id", "version"], ["id"]],
    "config_value": [["config_name_id", "name", "version"], ["id"]],
    "config_value_association": [["config_id", "config_value_id"]],
    "config_request": [["caller", "request_id"]],
}
"""The columns of each primary key and UNIQUE, for the triggers; tables in the order of their making."""


def upgrade() -> None:
    """Make the tables, then what keeps them insert-only."""
    _config_name()
    _config()
    _config_value()
    _config_value_association()
    _config_request()
    dialect = op.get_bind().dialect.name
    for table, keys in KEYS.items():
        for statement in insert_only(dialect, table, keys):
            op.execute(sa.text(statement))


def _config_name() -> None:
    op.create_table(
        "config_name",
        sa.Column("id", BIGINT, sa.Identity(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.CheckConstraint("id > 0", name=op.f("ck_config_name_positive_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_name")),
        sa.UniqueConstraint("name", name=op.f("uq_config_name_name")),
    )


def _config() -> None:
    op.create_table(
        "config",
        sa.Column("id", BIGINT, sa.Identity(), nullable=False),
        sa.Column("config_name_id", BIGINT, nullable=False),
        sa.Column("version", BIGINT, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("author_verified", sa.Boolean(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("commit_time_us", BIGINT, nullable=False),
        sa.Column("key_count", BIGINT, nullable=False),
        sa.Column("change_count", BIGINT, nullable=False),
        sa.Column("size_bytes", BIGINT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("source_config", sa.Text(), nullable=True),
        sa.Column("source_version", BIGINT, nullable=True),
        sa.Column("source_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("id > 0", name=op.f("ck_config_positive_id")),
        sa.CheckConstraint("version > 0", name=op.f("ck_config_positive_version")),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_config_hash_length")),
        sa.CheckConstraint(
            "(source_version IS NULL) = (source_config IS NULL) AND (source_hash IS NULL) = (source_config IS NULL)",
            name=op.f("ck_config_whole_source"),
        ),
        sa.ForeignKeyConstraint(["config_name_id"], ["config_name.id"], name=op.f("fk_config_config_name_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config")),
        sa.UniqueConstraint("config_name_id", "version", name=op.f("uq_config_config_name_id_version")),
    )


def _config_value() -> None:
    op.create_table(
        "config_value",
        sa.Column("id", BIGINT, sa.Identity(), nullable=False),
        sa.Column("config_name_id", BIGINT, nullable=False),
        sa.Column("version", BIGINT, nullable=False),
        sa.Column("originating_config_id", BIGINT, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("int_value", BIGINT, nullable=True),
        sa.Column("float_value", sa.Double(), nullable=True),
        sa.Column("string_value", sa.Text(), nullable=True),
        sa.Column("bytes_value", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id > 0", name=op.f("ck_config_value_positive_id")),
        sa.CheckConstraint("kind BETWEEN 0 AND 6", name=op.f("ck_config_value_kind")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_config_value_digest_length")),
        sa.CheckConstraint(
            "(NOT deleted OR kind = 0)"
            " AND (int_value IS NOT NULL) = (kind IN (1, 2))"
            " AND (float_value IS NOT NULL) = (kind = 3)"
            " AND (string_value IS NOT NULL) = (kind IN (4, 6))"
            " AND (bytes_value IS NOT NULL) = (kind = 5)",
            name=op.f("ck_config_value_one_column_by_kind"),
        ),
        sa.ForeignKeyConstraint(["config_name_id"], ["config_name.id"], name=op.f("fk_config_value_config_name_id")),
        sa.ForeignKeyConstraint(
            ["originating_config_id"], ["config.id"], name=op.f("fk_config_value_originating_config_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_value")),
        sa.UniqueConstraint(
            "config_name_id", "name", "version", name=op.f("uq_config_value_config_name_id_name_version")
        ),
    )
    op.create_index(op.f("ix_config_value_config_name_id_version"), "config_value", ["config_name_id", "version"])


def _config_value_association() -> None:
    op.create_table(
        "config_value_association",
        sa.Column("config_id", BIGINT, nullable=False),
        sa.Column("config_value_id", BIGINT, nullable=False),
        sa.ForeignKeyConstraint(["config_id"], ["config.id"], name=op.f("fk_config_value_association_config_id")),
        sa.ForeignKeyConstraint(
            ["config_value_id"], ["config_value.id"], name=op.f("fk_config_value_association_config_value_id")
        ),
        sa.PrimaryKeyConstraint("config_id", "config_value_id", name=op.f("pk_config_value_association")),
        sqlite_with_rowid=False,
    )


def _config_request() -> None:
    op.create_table(
        "config_request",
        sa.Column("caller", NAME, nullable=False),
        sa.Column("request_id", NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("config_name", NAME, nullable=False),
        sa.Column("config_id", BIGINT, nullable=True),
        sa.Column("created", sa.Boolean(), nullable=False),
        sa.Column("merged", sa.Boolean(), nullable=False),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_config_request_digest_length")),
        sa.ForeignKeyConstraint(["config_id"], ["config.id"], name=op.f("fk_config_request_config_id")),
        sa.PrimaryKeyConstraint("caller", "request_id", name=op.f("pk_config_request")),
        sqlite_with_rowid=False,
    )
