"""Whatever is public says what it is: every name, and every method and property of a class, in both clients."""

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
    "lamina.openfeature",
    "lamina.pydantic",
    "lamina.testing",
    "lamina_pytest",
]


def own_names(module: ModuleType) -> list[str]:
    """Give a module's public names; where it has no list of them, what it defines."""
    found = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return getattr(module, "__all__", None) or [name for name in found if not name.startswith("_")]


def public() -> Iterator[tuple[str, Any]]:
    """Give all that has a docstring of its own: no plain values, such as a type alias."""
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


def test_all_of_it_is_looked_at() -> None:
    some = {"lamina.Config.commit", "lamina.aio.Config.commit", "lamina.Live.age", "lamina.Bound.current"}
    assert {*some, "lamina.testing.Server.fail_next", "lamina.carry.to_baggage", "lamina.LimitError"} <= PUBLIC.keys()


def says_something(path: str) -> bool:
    """Tell whether there is a docstring: a dataclass's own signature says nothing."""
    text = inspect.getdoc(PUBLIC[path])
    return text is not None and text != "" and not text.startswith(f"{path.rpartition('.')[2]}(")


def test_all_of_it_has_a_docstring() -> None:
    assert not [path for path in PUBLIC if not says_something(path)]
