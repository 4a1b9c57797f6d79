"""Settings bound to a live: the object that a version was made into, swapped for that of a later one which fits.

Pure: the subscriptions of _grpc say when to look at a version, and call the functions. It knows neither pydantic nor
what else makes the objects: a form does.

Worked example: version 7 fits, and is `current`. Version 8 has a text for a port: `current` and `version` stay as they
are, `error` names the key, `on_invalid` is called, `state` is STALE. Version 9 fits: `current` is made of it, `error`
is None, and the functions of `on_change` are called with 7's object and 9's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from threading import current_thread, main_thread
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from lamina._live.audience import Notification, Notifier
from lamina._live.state import LiveState
from lamina._live.view import LiveView
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina._runtime.arguments import checked
from lamina._runtime.copies import Uncopyable
from lamina._runtime.log import log
from lamina._runtime.public import public
from lamina._settings.defects import log_defect
from lamina._settings.shapes import Filling, Path, Shape, ShapeError
from lamina.errors import InvalidError, SettingsError

SHOWN_PROBLEMS: Final = 10
"""An error's text names so many, to stay readable; `problems` has them all."""


_OF_NO_TYPE: Final = frozenset({"value_error", "assertion_error", "extra_forbidden"})
"""Mistakes that another type would not mend."""


class DataclassLike(Protocol):
    """Any dataclass, for type checkers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class ModelLike(Protocol):
    """Any model of pydantic's, for type checkers that need not have it."""

    __pydantic_fields__: ClassVar[dict[str, Any]]


Settings = TypeVar("Settings", bound=DataclassLike | ModelLike)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Result = TypeVar("Result")

OnInvalid: TypeAlias = Callable[[SettingsError], Any]


class BindOptions(NamedTuple):
    """What else `bind` was told."""

    prefix: str
    delimiter: str
    on_invalid: OnInvalid | None
    awaits: bool = False
    """Whether functions may be coroutine functions."""


class Form(Protocol[T_co]):
    """A class of settings: what names it takes, and how an object is made; ShapeError if what came does not fit."""

    shape: Shape

    def make(self, tree: Mapping[str, Any], /) -> T_co: ...


class _Shown(NamedTuple, Generic[T]):
    """What a bound shows: replaced at one go."""

    current: T
    version: int
    error: SettingsError | None


@public("lamina")
class Bound(Uncopyable, Generic[T_co]):
    """Settings that follow a config: `current` is an object of the newest version that fits.

    Made by `live.bind`. Threads may share it. Reading takes no lock and makes no call.
    """

    __slots__ = (
        "__weakref__",
        "_awaits",
        "_filling",
        "_form",
        "_functions",
        "_live",
        "_notifier",
        "_on_invalid",
        "_settings",
        "_shown",
        "is_over",
        "seen",
    )

    _instead = "bound.current is the object"

    def __init__(
        self,
        live: LiveView,
        entries: Entries,
        settings: type[T_co],
        options: BindOptions,
        notifier: Notifier,
    ) -> None:
        self._live = live  # which goes on for as long as this is kept
        self._settings = settings
        self._form = form_of(settings)
        self._filling = Filling(self._form.shape, options.prefix, options.delimiter)
        self._functions: list[Callable[[Any, Any], Any]] = []
        self._awaits = options.awaits
        self._on_invalid = options.on_invalid
        if options.on_invalid is not None:
            checked(options.on_invalid, "on_invalid=", awaits=options.awaits)
        self._notifier = notifier
        self._shown = _Shown(self._made(entries), entries.header.number, None)
        self.seen = entries
        self.is_over = False
        if options.on_invalid is not None:
            notifier.begin_calling()

    @property
    def current(self) -> T_co:
        """The settings: one object, of one whole version. Read several fields of it, and they belong together."""
        return self._shown.current

    @property
    def version(self) -> int:
        """The number of the version that `current` was made of."""
        return self._shown.version

    @property
    def error(self) -> SettingsError | None:
        """Why a newer version is not current; None once one fits again."""
        return self._shown.error

    @property
    def state(self) -> LiveState:
        """As the live's, and STALE while a newer version does not fit."""
        state = self._live.state
        return LiveState.STALE if state is LiveState.LIVE and self._shown.error is not None else state

    def on_change(self, function: Callable[[T_co, T_co], Result]) -> Callable[[T_co, T_co], Result]:
        """Call a function with the old settings and the new, whenever a version fits and they differ; a decorator too.

        Called where the live's functions are, one after the other and in order, until the live is closed. What one
        raises is logged and stops nothing.
        """
        if self.is_over:
            raise InvalidError("this live is closed")
        checked(function, "on_change", awaits=self._awaits)
        self._notifier.begin_calling()
        self._functions.append(function)
        return function

    def look(self, entries: Entries) -> None:
        """Show a version if it fits, and report it if not. Raises nothing: no caller would see it."""
        shown, version = self._shown, entries.header.number
        try:
            current = self._made(entries)
        except SettingsError as error:
            # Without its traceback, whose frames would keep the whole map for as long as this is shown.
            self._shown = _Shown(shown.current, shown.version, error.with_traceback(None))
            log.error("%s; version %d is kept", error, shown.version)
            if self._on_invalid is not None:
                self._notifier.tell(Notification("on_invalid", (self._on_invalid,), (error,), version, self))
        else:
            self._shown = _Shown(current, version, None)
            # Taken after the swap: a function that comes too late for this one was added when it was shown already.
            if (functions := tuple(self._functions)) and _differ(shown.current, current):
                self._notifier.tell(Notification("on_change", functions, (shown.current, current), version, self))
        self.seen = entries  # last: who waits for it finds the rest

    def _made(self, entries: Entries) -> T_co:
        config = Snapshot(entries)
        try:
            made: T_co = self._form.make(self._filling.tree(config))
            return made
        except ShapeError as misfit:
            places = misfit.places
        except BaseException as error:  # the user's validators: whatever they raise, it does not fit
            if _is_ctrl_c(error):
                raise
            log_defect(self._settings, error)
            places = (((), type(error).__name__),)
        # Out of the `except`, as what was raised may hold values, and would be kept as the context of this.
        raise self._unfit(config, places)

    def _unfit(self, config: Snapshot, places: Iterable[tuple[Path, str]]) -> SettingsError:
        problems: dict[str, list[str]] = {}
        expected: dict[str, str] = {}
        for path, kind in places:
            key = self._filling.key_of(path, config)
            kinds = problems.setdefault(key, [])
            if kind not in kinds:
                kinds.append(kind)
            if kind not in _OF_NO_TYPE and (of_type := self._filling.expected_at(path)):
                expected[key] = f" (expected {of_type})"
        told = {key: ", ".join(kinds) + expected.get(key, "") for key, kinds in problems.items()}
        texts = [f"{key or '(all keys)'}: {problem}" for key, problem in list(told.items())[:SHOWN_PROBLEMS]]
        more = [f"and {len(told) - len(texts)} more"] * (len(told) > len(texts))
        return SettingsError(
            f"version {config.version} of {config.config} does not fit {self._settings.__qualname__}: "
            + "; ".join(texts + more),
            version=config.version,
            problems=told,
        )

    def __repr__(self) -> str:
        return f"<Bound {self._settings.__qualname__} of {self._live.name!r} version {self.version}, {self.state}>"


def form_of(settings: Any) -> Form[Any]:
    """Return how objects of a class are made; TypeError for a class that is neither a model nor a dataclass."""
    # What makes them is loaded when it is needed; pydantic has been by then.
    if isinstance(settings, type) and hasattr(settings, "__pydantic_validator__"):
        from lamina._settings.models import ModelForm  # noqa: PLC0415

        return ModelForm(settings)
    if isinstance(settings, type) and is_dataclass(settings):
        from lamina._settings.dataclasses import DataclassForm  # noqa: PLC0415

        return DataclassForm(settings)
    raise TypeError(f"bind takes a class, a pydantic model or a dataclass, not {_described(cast('object', settings))}")


def _described(it: object) -> str:
    return repr(it) if isinstance(it, type) else f"an object of {type(it)!r}"  # which may be of values


def _differ(one: object, other: object) -> bool:
    try:
        return bool(one != other)
    except BaseException as error:  # an __eq__ of the user's
        if _is_ctrl_c(error):
            raise
        return True


def _is_ctrl_c(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()
