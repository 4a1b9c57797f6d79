"""Every public name, method and property of both clients has a docstring."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

MODULES = [
    "lamina",
    "lamina.aio",
    "lamina.bundle",
    "lamina.carry",
    "lamina.login",
    "lamina.openfeature",
    "lamina.pydantic",
    "lamina.testing",
    "lamina_pytest",
]


def own_names(module: ModuleType) -> list[str]:
    """Return a module's public names: its `__all__`, or the names that it defines."""
    found = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return getattr(module, "__all__", None) or [name for name in found if not name.startswith("_")]


def public() -> Iterator[tuple[str, Any]]:
    """Yield everything that can have a docstring of its own: no plain values, such as a type alias."""
    for name in MODULES:
        module = import_module(name)
        yield name, module
        for own in own_names(module):
            value = getattr(module, own)
            if inspect.isclass(value):
                yield f"{name}.{own}", value
                yield from members(f"{name}.{own}", value)
            elif callable(value) and hasattr(value, "__name__"):
                yield f"{name}.{own}", value


def members(path: str, kind: type) -> Iterator[tuple[str, Any]]:
    ours = [one for one in kind.__mro__ if one.__module__.startswith("lamina")]
    for name in sorted({name for one in ours for name in vars(one) if not name.startswith("_")}):
        member = inspect.getattr_static(kind, name)
        if inspect.isroutine(member) or isinstance(member, property):
            yield f"{path}.{name}", member


PUBLIC = dict(public())


def test_the_public_names_are_found_in_both_clients() -> None:
    some = {"lamina.Config.commit", "lamina.aio.Config.commit", "lamina.Live.age", "lamina.Bound.current"}
    assert {*some, "lamina.testing.Server.fail_next", "lamina.carry.to_baggage", "lamina.LimitError"} <= PUBLIC.keys()


def has_docstring(path: str) -> bool:
    """Return whether a person wrote a docstring: that of a dataclass is its signature."""
    text = inspect.getdoc(PUBLIC[path])
    return text is not None and text != "" and not text.startswith(f"{path.rpartition('.')[2]}(")


def test_every_public_name_has_a_docstring() -> None:
    assert not [path for path in PUBLIC if not has_docstring(path)]
