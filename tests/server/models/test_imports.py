"""Importing the store or the application loads no ORM; `lamina_server.models` loads it when a name first needs it."""

import subprocess
import sys

import pytest

import lamina_server.models

LISTENERS = """
from sqlalchemy.orm import Session
dispatch = Session().dispatch
print([name for name in ("before_flush", "do_orm_execute", "after_commit") if list(getattr(dispatch, name))])
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["lamina_server.app", "lamina_server.store.open"])
def test_the_server_loads_no_orm_and_registers_no_listener(module: str) -> None:
    loaded = f"import sys, {module}; print('sqlalchemy.orm' in sys.modules, 'lamina_server.models.orm' in sys.modules)"
    assert run(loaded + LISTENERS) == "False False\n[]"


def test_a_name_of_the_models_is_loaded_when_it_is_first_used() -> None:
    before = "import sys, lamina_server.models as models; models.lock_writers; print('sqlalchemy.orm' in sys.modules)"
    assert run(f"{before}; models.ConfigData{LISTENERS}") == (
        "False\n['before_flush', 'do_orm_execute', 'after_commit']"
    )


def test_every_public_name_is_there() -> None:
    for name in lamina_server.models.__all__:
        assert getattr(lamina_server.models, name) is not None
        assert name in dir(lamina_server.models)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ConfigDatum'"):
        _ = lamina_server.models.ConfigDatum  # type: ignore[attr-defined]
