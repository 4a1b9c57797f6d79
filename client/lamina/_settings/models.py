"""Pydantic's models and dataclasses as settings, and the names that they take. Needs pydantic; knows no configs."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import BaseMetadata
from pydantic import AliasChoices, AliasPath, RootModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic import Secret as AnySecret
from pydantic.fields import FieldInfo

from lamina._mapping.frozen import thaw
from lamina._mapping.secret import Secret
from lamina._settings.shapes import ANYTHING, Shape, ShapeError, written

T = TypeVar("T")

Shapes = dict[type, Shape]
"""The shapes made so far: a model may contain itself."""


class ModelForm(Generic[T]):
    """Makes objects of one model from nested values."""

    def __init__(self, settings: type[T]) -> None:
        self.shape = shape_of(settings)
        self._validate = TypeAdapter(settings).validate_python
        self._has_init = getattr(settings, "__pydantic_custom_init__", False)

    def make(self, tree: Mapping[str, Any]) -> T:
        """Make an object, or raise ShapeError with all problems."""
        if self._has_init:
            # A BaseSettings would take these as options, such as a file to read. A config must not decide that.
            tree = {name: value for name, value in tree.items() if name in self.shape.below or name[:1] != "_"}
        try:
            return self._validate(tree)
        except ValidationError as error:
            # Neither the inputs nor the messages, which may hold them.
            found = error.errors(include_url=False, include_context=False, include_input=False)
        raise ShapeError((each["loc"], each["type"]) for each in found)


def shape_of(settings: Any, shapes: Shapes | None = None) -> Shape:
    """Return the shape of a model or a dataclass: the names that it takes, with those of nested ones."""
    shapes = {} if shapes is None else shapes
    if settings not in shapes:
        shape = shapes[settings] = Shape({})  # first, because it may contain itself
        if issubclass(settings, RootModel):
            root = _below(settings.model_fields["root"].annotation, shapes) or ANYTHING
            shape.below, shape.extras = root.below, root.extras
        elif hasattr(settings, "__pydantic_fields__"):
            _fill(shape, settings, shapes)
        else:
            hints = get_type_hints(settings, include_extras=True)
            for name in (field.name for field in fields(settings)):
                shape.below[name], shape.expected[name] = _below(hints[name], shapes), written(hints[name])
                if (opening := _opening(hints[name])) is not None:
                    shape.opened[name] = opening
    return shapes[settings]


def _fill(shape: Shape, settings: Any, shapes: Shapes) -> None:
    config: Mapping[str, Any] = getattr(settings, "model_config", None) or getattr(settings, "__pydantic_config__", {})
    declared: Mapping[str, FieldInfo] = settings.__pydantic_fields__
    for name, field in declared.items():
        below, opening = _below(field.annotation, shapes), _opening(field.annotation)
        bounds = [repr(each) for each in field.metadata if isinstance(each, BaseMetadata)]
        expected = ", ".join([written(field.annotation), *bounds])
        for taken, is_path in _taken(name, field, config):
            shape.below[taken] = ANYTHING if is_path else below
            shape.expected[taken] = "" if is_path else expected
            if opening is not None and not is_path:
                shape.opened[taken] = opening
    if config.get("extra") == "forbid":
        shape.extras = "flat"
    elif config.get("extra") == "allow" or _looks_first(settings):
        shape.extras = "nested"


def _taken(name: str, field: FieldInfo, config: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """List the names that fill a field, and whether each is the beginning of a path."""
    alias = field.validation_alias if config.get("validate_by_alias") is not False else None
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    taken = [
        (str(choice.path[0]), True) if isinstance(choice, AliasPath) else (choice, False)
        for choice in choices
        if choice is not None
    ]
    if not taken or config.get("validate_by_name") or config.get("populate_by_name"):
        taken.append((name, False))
    return taken


def _looks_first(settings: Any) -> bool:
    """Return whether a validator sees the input before the fields do: it may take other names too."""
    validators = settings.__pydantic_decorators__.model_validators.values()
    return any(each.info.mode in {"before", "wrap"} for each in validators)


def _below(annotation: Any, shapes: Shapes) -> Shape | None:
    """Return the shape that keys below a field of this type fill; None for a field that takes one whole value."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in {Union, UnionType}:
        found = [shape for each in get_args(annotation) if (shape := _below(each, shapes)) is not None]
        return found[0] if len(found) == 1 else ANYTHING if found else None
    kind: Any = get_origin(annotation) or annotation
    if hasattr(kind, "__pydantic_fields__") or (isinstance(kind, type) and is_dataclass(kind)):
        return shape_of(kind, shapes)
    return ANYTHING if _is_open(kind) else None


def _opening(annotation: Any) -> Callable[[Secret], Any] | None:
    """Return what makes pydantic's kind of secret of ours for a field of this type; None for any other type."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in {Union, UnionType}:
        return next((opening for each in get_args(annotation) if (opening := _opening(each))), None)
    return _OPENINGS.get(get_origin(annotation) or annotation)


def _text(secret: Secret) -> Any:
    content = secret.reveal()
    return SecretStr(content) if isinstance(content, str) else secret


def _bytes(secret: Secret) -> Any:
    content = secret.reveal()
    if isinstance(content, str):
        return SecretBytes(content.encode())
    return SecretBytes(content) if isinstance(content, bytes) else secret


def _any(secret: Secret) -> Any:
    return AnySecret(thaw(secret.reveal()))


_OPENINGS: Final[Mapping[Any, Callable[[Secret], Any]]] = {SecretStr: _text, SecretBytes: _bytes, AnySecret: _any}


def _is_open(kind: Any) -> bool:
    """Return whether it may be a dict with any names; a TypedDict is one."""
    is_mapping = isinstance(kind, type) and issubclass(kind, Mapping)
    return is_mapping or kind is Any or kind is object or isinstance(kind, TypeVar)


def _unwrapped(annotation: Any) -> Any:
    """Look through Annotated, `type` statements and NewType."""
    if get_origin(annotation) is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if hasattr(annotation, "__value__"):
        return _unwrapped(annotation.__value__)
    return _unwrapped(annotation.__supertype__) if isinstance(annotation, NewType) else annotation
