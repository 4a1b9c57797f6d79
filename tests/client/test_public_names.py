"""Pickles, reprs and tracebacks name the public modules, from which users import."""

import copy
import io
import pickle
import pickletools
import traceback
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass, isfunction
from typing import Any, get_type_hints

import pytest

import lamina
from lamina import aio
from lamina._wire.messages import version_of
from tests.client.builders import entries, header
from tests.client.test_docstrings import MODULES, own_names

VERSION = version_of(header(2))
SNAPSHOT = lamina.Snapshot(entries({"n": 1, "hosts": ["h1", {"port": 5}], "raw": b"\x00"}, version=2))
CHANGE = lamina.KeyChange("n", lamina.MISSING, True, 2, "ann", "why", VERSION.time)
CONFLICT = lamina.Conflict("n", 1, 2, lamina.MISSING, 2, "ann")

RECORDS = [
    VERSION,
    lamina.Change(1, lamina.MISSING),
    CHANGE,
    lamina.VersionChanges(2, (CHANGE,), "ann", "why", VERSION.time, VERSION.hash),
    CONFLICT,
    lamina.ConfigInfo("app", 2, VERSION.time, VERSION.time),
    lamina.ServerInfo("0.1.0", "ann", True),
    lamina.Grant("token:ann", "writer", "app/**", True),
    lamina.WhoAmI("token:ann", ("group:platform",), (lamina.Grant("token:ann", "reader", "**"),)),
    lamina.AccessCheck("writer", False, ()),
    lamina.LiveState.STALE,
    lamina.TLS(),
    SNAPSHOT,
    SNAPSHOT["hosts"],
    SNAPSHOT["hosts"][1],
]
ERRORS = [
    lamina.InvalidError("bad", reason="BAD_KEY"),
    lamina.SettingsError("unfit", version=2, problems={"n": "missing"}),
    lamina.NotFoundError("none", reason="CONFIG_NOT_FOUND"),
    lamina.ConflictError("moved on", conflicts={"n": CONFLICT}, head=2, request_id="id"),
    lamina.UnavailableError("away"),
    lamina.DeadlineError("late"),
    lamina.UnauthenticatedError("who?"),
    lamina.PermissionDeniedError("no"),
    lamina.LimitError("large", limit=1, actual=2),
    lamina.LimitError("too many calls", retry_seconds=0.5),
    lamina.ExistsError("there"),
    lamina.CursorError("ahead", cursor="2", head=1),
    lamina.VersionCompactedError("compacted", oldest_version=2),
    lamina.DataLossError("lost"),
    lamina.LaminaError("some"),
]


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public class and function, with the module that has it."""
    for module in MODULES:
        for name in own_names(import_module(module)):
            value = getattr(import_module(module), name)
            if isclass(value) or isfunction(value):
                yield module, value


def test_every_public_name_has_a_public_module() -> None:
    assert {value.__module__ for _, value in public()} <= set(MODULES)
    for module, value in public():
        assert getattr(import_module(value.__module__), value.__qualname__) is value, (module, value)
    assert repr(lamina.Config) == "<class 'lamina.Config'>"
    assert repr(aio.Config) == "<class 'lamina.aio.Config'>"
    assert repr(lamina.NotFoundError) == "<class 'lamina.NotFoundError'>"


def test_the_annotations_of_public_names_can_be_resolved() -> None:
    for _, value in public():
        assert get_type_hints(value) is not None
        if isclass(value):
            own = [member for name, member in vars(value).items() if isfunction(member) and not name.startswith("_")]
            assert all(get_type_hints(member) for member in own)


class ImportRecorder(pickle.Unpickler):
    """Loads a pickle and records what it imports."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self.imported: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str, /) -> Any:
        self.imported.add((module, name))
        return super().find_class(module, name)


def loaded(pickled: bytes) -> Any:
    """Load a pickle, and assert that it imports only public names of Lamina and of Python."""
    of_python = {"datetime", "builtins", "__builtin__", "copyreg", "_codecs"}
    texts = [str(argument) for _, argument, _ in pickletools.genops(pickled)]
    assert not [text for text in texts if text.startswith(("lamina.", "lamina_"))]
    loading = ImportRecorder(pickled)
    it = loading.load()
    assert {name for module, name in loading.imported if module == "lamina"} <= set(lamina.__all__)
    assert {module for module, _ in loading.imported} <= {"lamina", *of_python}
    return it


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("it", [*RECORDS, lamina.MISSING, lamina.COMPACTED], ids=lambda it: type(it).__name__)
def test_a_record_s_pickle_names_nothing_private(it: Any, protocol: int) -> None:
    assert loaded(pickle.dumps(it, protocol)) == it
    assert copy.deepcopy(it) == it


@pytest.mark.parametrize("it", [lamina.MISSING, lamina.COMPACTED])
def test_what_stands_for_a_value_is_unpickled_as_the_same_object(it: Any) -> None:
    assert loaded(pickle.dumps([it]))[0] is it
    assert copy.copy(it) is it


def test_a_snapshot_is_unpickled_with_its_version_and_origins() -> None:
    again = loaded(pickle.dumps(SNAPSHOT))
    assert again.to_dict() == SNAPSHOT.to_dict()
    assert (again.config, again.version, again.origin("n")) == ("app", 2, 2)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_s_pickle_names_nothing_private(error: lamina.LaminaError) -> None:
    again = loaded(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_list_above_has_every_error() -> None:
    assert {type(error).__name__ for error in ERRORS} == {name for name in lamina.__all__ if name.endswith("Error")}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_traceback_names_the_public_module(error: lamina.LaminaError) -> None:
    assert traceback.format_exception_only(error)[-1].startswith(f"lamina.{type(error).__name__}: ")
