"""Dataclasses as settings: their annotations are checked, without any library. Knows no configs.

Types are exact, as for values: True is no int and 1 is no text. Only an int is accepted for a float, and becomes one.
The kinds of problems have pydantic's names, if it has one.
"""

import builtins
import enum
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, InitVar, fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from lamina._mapping.frozen import is_dict, is_list
from lamina._mapping.secret import Secret
from lamina._settings.defects import log_defect
from lamina._settings.shapes import ANYTHING, Path, Shape, ShapeError, written

T = TypeVar("T")

Forms = dict[type, "DataclassForm[Any]"]
"""The forms made so far: a dataclass may contain itself."""


class Checked(NamedTuple):
    """The meaning of an annotation: `check` returns the value, or raises ShapeError; `below` is its shape."""

    check: Callable[[Any], Any]
    below: Shape | None = None


class DataclassForm(Generic[T]):
    """Makes objects of one dataclass from nested values. TypeError for an annotation that is not supported."""

    def __init__(self, settings: type[T], forms: Forms | None = None) -> None:
        forms = {} if forms is None else forms
        forms[settings] = self
        self._settings = settings
        self.shape = Shape({})
        self._checks: dict[str, Checked] = {}
        self._required: set[str] = set()
        hints = _hints(settings)
        for field in fields(settings):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            if field.init:
                checked = _checked(hints[field.name], f"{settings.__qualname__}.{field.name}", forms)
                self._checks[field.name] = checked
                self.shape.below[field.name] = checked.below
                self.shape.expected[field.name] = written(hints[field.name])
                if field.default is MISSING and field.default_factory is MISSING:
                    self._required.add(field.name)

    def make(self, tree: Mapping[str, Any]) -> T:
        """Make an object, or raise ShapeError with all problems."""
        arguments: dict[str, Any] = {}
        places: list[tuple[Path, str]] = []
        for name, checked in self._checks.items():
            if name in tree:
                try:
                    arguments[name] = checked.check(tree[name])
                except ShapeError as misfit:
                    places += misfit.within(name)
            elif name in self._required:
                places.append(((name,), "missing"))
        if places:
            raise ShapeError(places)
        try:
            return self._settings(**arguments)
        except (ValueError, AssertionError) as error:  # raised in the user's __post_init__: the values do not fit
            kind = "value_error" if isinstance(error, ValueError) else "assertion_error"
        except Exception as error:  # noqa: BLE001 - a defect in the user's code, there or in a default_factory
            log_defect(self._settings, error)
            kind = type(error).__name__
        raise _misfit(kind)

    def check(self, value: Any) -> T:
        """Make an object from a dict."""
        if not is_dict(value):
            raise _misfit("dataclass_type")
        return self.make(value)


def _hints(settings: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(settings, include_extras=True)
    except NameError as error:
        raise TypeError(f"an annotation of {settings.__qualname__} names {error.name!r}, which is not there") from error
    if late := [name for name, hint in hints.items() if isinstance(hint, InitVar)]:
        raise TypeError(f"{settings.__qualname__}.{late[0]} is an InitVar, which no key can fill")
    return hints


def _misfit(kind: str) -> ShapeError:
    return ShapeError([((), kind)])


def _checked(annotation: Any, place: str, forms: Forms) -> Checked:
    """Make the check of an annotation."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    checked = _of_annotation(annotation, place, forms) or _of_container(annotation, place, forms)
    if checked is None:
        raise TypeError(
            f"{place} is annotated with {annotation!r}: a dataclass to be bound has None, bool, int, float, str, "
            "bytes, lamina.Secret, enums, Literal, list[...], tuple[..., ...], dict[str, ...], unions, and dataclasses "
            "of these; a pydantic model has more"
        )
    return checked


def _of_annotation(annotation: Any, place: str, forms: Forms) -> Checked | None:
    """Make the check of a type that is no container, or of a union."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return Checked(_as_it_is, ANYTHING)
    if origin in {Union, types.UnionType}:
        return _any_of([_checked(argument, place, forms) for argument in arguments])
    if origin is Literal:
        return Checked(_one_of(arguments, "literal_error"))
    if annotation in _SCALARS:
        return Checked(_of_type(*_SCALARS[annotation]))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Checked(_one_of(annotation, "enum"))
    return None


def _of_container(annotation: Any, place: str, forms: Forms) -> Checked | None:
    def items(argument: Any = Any) -> Callable[[Any], Any]:
        return _checked(argument, place, forms).check

    match get_origin(annotation) or annotation, *get_args(annotation):
        case [builtins.list, *arguments]:
            return Checked(_list_of(items(*arguments), list, "list_type"))
        case [builtins.tuple] | [builtins.tuple, _, builtins.Ellipsis]:
            return Checked(_list_of(items(*get_args(annotation)[:1]), tuple, "tuple_type"))
        case [builtins.dict] | [builtins.dict, builtins.str, _]:
            return Checked(_dict_of(items(*get_args(annotation)[1:])), ANYTHING)
        case [type() as kind] if is_dataclass(kind):
            form = forms.get(kind) or DataclassForm(kind, forms)
            return Checked(form.check, form.shape)
        case _:
            return None


_SCALARS: Final[Mapping[Any, tuple[type, str]]] = {
    None: (type(None), "none_required"),
    type(None): (type(None), "none_required"),
    bool: (bool, "bool_type"),
    int: (int, "int_type"),
    float: (float, "float_type"),
    str: (str, "string_type"),
    bytes: (bytes, "bytes_type"),
    Secret: (Secret, "secret_type"),
}


def _as_it_is(value: Any) -> Any:
    return value


def _of_type(kind: type, mistake: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _misfit(mistake)

    return check


def _one_of(choices: Iterable[Any], mistake: str) -> Callable[[Any], Any]:
    """Accept any of these values; a member of an enum by its value, which is what a config can hold."""
    values: dict[tuple[type, Any], Any] = {}
    for each in choices:
        value = each.value if isinstance(each, enum.Enum) else each
        values[type(value), value] = each

    def check(value: Any) -> Any:
        if is_list(value) or is_dict(value) or (type(value), value) not in values:
            raise _misfit(mistake)
        return values[type(value), value]

    return check


def _list_of(check_item: Callable[[Any], Any], kind: type, mistake: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not is_list(value):
            raise _misfit(mistake)
        return kind(_each(enumerate(value), check_item).values())

    return check


def _dict_of(check_item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not is_dict(value):
            raise _misfit("dict_type")
        return _each(value.items(), check_item)

    return check


def _each(items: Any, check_item: Callable[[Any], Any]) -> dict[Any, Any]:
    checked: dict[Any, Any] = {}
    places: list[tuple[Path, str]] = []
    for step, item in items:
        try:
            checked[step] = check_item(item)
        except ShapeError as misfit:
            places += misfit.within(step)
    if places:
        raise ShapeError(places)
    return checked


def _any_of(members: list[Checked]) -> Checked:
    """Make the check of a union: the first type that keeps a value as it is wins, else the first that accepts it."""
    shapes = [member.below for member in members if member.below is not None]

    def check(value: Any) -> Any:
        results: list[Any] = []
        places: list[tuple[Path, str]] = []
        for member in members:
            try:
                results.append(member.check(value))
            except ShapeError as misfit:
                places += misfit.places
        if not results:
            raise ShapeError(place for place in places if place != ((), "none_required"))
        return next((result for result in results if type(result) is type(value)), results[0])

    return Checked(check, shapes[0] if len(shapes) == 1 else ANYTHING if shapes else None)
