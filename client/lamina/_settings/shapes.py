"""How the flat keys of a config fill nested settings: `db/host` is `host` within `db`. Pure; knows no classes.

Worked example: a shape has `db`, and below it `host` and `port`. The config {"db": {"host": "h1", "port": 5},
"db/port": 6, "motd": "hi"} gives {"db": {"host": "h1", "port": 6}}: a dict fills nested settings too, a separate key
wins over the dict, and `motd` is dropped, because the shape does not have it.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

from lamina._mapping.frozen import is_dict, thaw
from lamina._mapping.secret import Secret
from lamina._mapping.values import check_text
from lamina.errors import InvalidError

Path: TypeAlias = tuple[int | str, ...]
"""A place within nested settings: the names on the way there, and the indexes in lists."""


Extras: TypeAlias = Literal["dropped", "flat", "nested"]


class Shape:
    """The names that a class takes, and what each stands for.

    below     for each name, the shape that keys below it fill; None if it takes one whole value
    expected  for each name, its type in the class, for people
    opened    for some names, what makes the class's own kind of secret of a revealed one
    extras    what happens to other names: "dropped"; "flat", passed on as they are and refused by name; or "nested"
    """

    __slots__ = ("below", "expected", "extras", "opened")

    def __init__(self, below: dict[str, "Shape | None"], extras: Extras = "dropped") -> None:
        self.below = below
        self.expected: dict[str, str] = {}
        self.opened: dict[str, Callable[[Secret], Any]] = {}
        self.extras: Extras = extras


ANYTHING: Final = Shape({}, "nested")
"""The shape of a dict."""


class ShapeError(Exception):
    """The nested values do not fit: the kind of problem of each place. No user sees it, and it holds no values."""

    def __init__(self, places: Iterable[tuple[Path, str]]) -> None:
        super().__init__()
        self.places = tuple(places)

    def within(self, step: int | str) -> list[tuple[Path, str]]:
        """Return the places as seen from one level above."""
        return [((step, *path), kind) for path, kind in self.places]


def written(annotation: Any) -> str:
    """Write an annotation as people do: `int`, `list[str]`, `int | None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation is None or annotation is type(None):
        return "None"
    return inspect.formatannotation(annotation, base_module=getattr(annotation, "__module__", None))


class Filling:
    """Fills a shape from the keys that begin with a prefix, with a delimiter between names."""

    def __init__(self, shape: Shape, prefix: str, delimiter: str) -> None:
        self._shape = shape
        self._prefix = check_text(prefix, "a prefix")
        self._delimiter = check_text(delimiter, "a delimiter")
        if not delimiter:
            raise InvalidError("a delimiter is empty", reason="BAD_REQUEST")
        # If all relevant keys are known, it need not go through a config of thousands of keys for each version.
        self._keys: set[str] = set()
        self._open: tuple[str, ...] = ()
        self._plan(shape, prefix, ())

    def tree(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Fill the shape, with plain lists and dicts. A key that holds no dict hides those below it."""
        if self._open:
            keys = [key for key in config if key in self._keys or key.startswith(self._open)]
        else:
            keys = [key for key in self._keys if key in config]
        tree: dict[str, Any] = {}
        for key in sorted(keys):  # so that a key comes before all those below it
            rest = key.removeprefix(self._prefix)
            if rest and (names := _names(rest, self._shape, self._delimiter)):
                value = config[key]
                _put(tree, names, self._opened(value, names) if isinstance(value, Secret) else thaw(value))
        return tree

    def key_of(self, path: Path, config: Mapping[str, Any]) -> str:
        """Return the key that fills a place, whether it exists or not; the prefix for the whole object.

        A place inside a key's value is not named: names in there are part of the value.
        """
        names = [str(step) for step in path]
        for count in range(len(names), 0, -1):
            key = self._prefix + self._delimiter.join(names[:count])
            if key in config:
                return key
        return self._prefix + self._delimiter.join(_known(names, self._shape))

    def expected_at(self, path: Path) -> str:
        """Return the type that is expected at a place, or around it if it lies inside of one field; "" if unknown."""
        shape: Shape | None = self._shape
        expected = ""
        for name in map(str, path):
            if shape is None or name not in shape.below:
                break
            expected, shape = shape.expected.get(name, ""), shape.below[name]
        return expected

    def _opened(self, secret: Secret, names: list[str]) -> Any:
        """Return a secret in the kind that the class has for it; as it is if the class has none, or if it is sealed."""
        shape: Shape | None = self._shape
        for name in names[:-1]:
            shape = shape.below.get(name) if shape else None
        if shape is None or not secret.is_revealed or names[-1] not in shape.opened:
            return secret
        return shape.opened[names[-1]](secret)

    def _plan(self, shape: Shape, prefix: str, around: tuple[Shape, ...]) -> None:
        """Record which keys count; if their number is unlimited, record their prefix."""
        if shape.extras != "dropped" or any(each is shape for each in around):
            self._open += (prefix,)
            return
        for name, inner in shape.below.items():
            self._keys.add(prefix + name)
            if inner is not None:
                self._plan(inner, prefix + name + self._delimiter, (*around, shape))


def _known(names: list[str], shape: Shape | None) -> Iterable[str]:
    for name in names:
        if shape is None or name not in shape.below:
            return
        yield name
        shape = shape.below[name]


def _names(rest: str, shape: Shape, delimiter: str) -> list[str] | None:
    """Split a key into names, as far as the shape goes; None if the shape has no place for it."""
    if rest in shape.below:  # also for a name that contains the delimiter, such as a field's alias
        return [rest]
    parts, is_below = rest.split(delimiter), False
    # The longest name first: with "_" as delimiter, `main_db` is still one name, and `main_db_host` is below it.
    for count in range(len(parts) - 1, 0, -1):
        name = delimiter.join(parts[:count])
        if inner := shape.below.get(name):
            is_below = True
            if names := _names(delimiter.join(parts[count:]), inner, delimiter):
                return [name, *names]
    if is_below:
        return None
    match shape.extras:
        case "dropped":
            return None
        case "nested" if parts[0] not in shape.below:
            return parts
        case _:
            return [rest]


def _put(tree: dict[str, Any], names: list[str], value: Any) -> None:
    *above, last = names
    for name in above:
        inner = tree.setdefault(name, {})
        if not is_dict(inner):
            return
        tree = inner
    tree[last] = value
