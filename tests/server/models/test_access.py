"""A session's change of `_lamina/access` is checked as a server's is."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import InvalidError
from lamina_server.models import ConfigData
from tests.server import databases

ADMIN = {"tokens/aaaa": {"name": "ada", "sha256": "ab" * 32}, "grants/token:ada **": {"role": "admin"}}


@databases.ONE
def test_a_bad_first_version_is_refused(session: Session) -> None:
    session.add(ConfigData({**ADMIN, "users/ada": 1}, config=ACCESS_CONFIG))
    with pytest.raises(InvalidError, match="users/ada"):
        session.flush()


@databases.ONE
def test_an_edit_that_would_lock_everybody_out_is_refused(
    session: Session, committed: Callable[..., ConfigData]
) -> None:
    config = committed(ADMIN, config=ACCESS_CONFIG)
    del config.data["tokens/aaaa"]
    with pytest.raises(InvalidError, match="would leave no admin"):
        session.flush()
    session.rollback()
    config.data["groups/platform"] = ["token:ada"]
    session.commit()
    assert config.version == 2
