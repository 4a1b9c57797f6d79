"""Settings bound to a live: an object made from a version, replaced whenever a later version fits.

Pure: the subscriptions of _grpc pass the versions, and call the callbacks. A form makes the objects, so this module
does not know pydantic.

Worked example: version 7 fits, and is `current`. Version 8 has text for a port: `current` and `version` stay as they
are, `error` names the key, `on_invalid` is called, `state` is STALE. Version 9 fits: `current` is made from it, `error`
is None, and the callbacks of `on_change` get the objects of 7 and 9.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from threading import current_thread, main_thread
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from lamina._live.audience import Notification, Notifier
from lamina._live.state import LiveState
from lamina._live.view import LiveView
from lamina._mapping.entries import Entries
from lamina._mapping.secret import Secret, why_absent
from lamina._mapping.snapshot import Snapshot
from lamina._runtime.arguments import checked
from lamina._runtime.copies import Uncopyable
from lamina._runtime.log import log
from lamina._runtime.public import public
from lamina._settings.defects import log_defect
from lamina._settings.shapes import Filling, Path, Shape, ShapeError
from lamina.errors import InvalidError, SettingsError

SHOWN_PROBLEMS: Final = 10
"""The number of problems in an error's text; `problems` has them all."""


_OF_NO_TYPE: Final = frozenset({"value_error", "assertion_error", "extra_forbidden"})
"""Kinds of problems that another type would not solve."""


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
    """The other arguments of `bind`."""

    prefix: str
    delimiter: str
    on_invalid: OnInvalid | None
    awaits: bool = False
    """Whether functions may be coroutine functions."""


class Form(Protocol[T_co]):
    """A class of settings: the names that it takes, and how an object is made; ShapeError if the values do not fit."""

    shape: Shape

    def make(self, tree: Mapping[str, Any], /) -> T_co: ...


class _Shown(NamedTuple, Generic[T]):
    """What a bound shows; replaced as a whole."""

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
        self._live = live  # so the live goes on while this object exists
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
        """The settings: one object, made from one whole version, so its fields belong together."""
        return self._shown.current

    @property
    def version(self) -> int:
        """The number of the version that `current` was made from."""
        return self._shown.version

    @property
    def error(self) -> SettingsError | None:
        """Why a newer version is not current; None when a version fits again."""
        return self._shown.error

    @property
    def state(self) -> LiveState:
        """The live's state; STALE while a newer version does not fit."""
        state = self._live.state
        return LiveState.STALE if state is LiveState.LIVE and self._shown.error is not None else state

    def on_change(self, function: Callable[[T_co, T_co], Result]) -> Callable[[T_co, T_co], Result]:
        """Call a function with the old and the new settings, whenever they differ; may be used as a decorator.

        It is called like the live's callbacks, in order and one after the other, until the live is closed. Its errors
        are logged and stop nothing.
        """
        if self.is_over:
            raise InvalidError("this live is closed")
        checked(function, "on_change", awaits=self._awaits)
        self._notifier.begin_calling()
        self._functions.append(function)
        return function

    def look(self, entries: Entries) -> None:
        """Show a version if it fits, and report it if not. Raise nothing: no caller would see it."""
        shown, version = self._shown, entries.header.number
        try:
            current = self._made(entries)
        except SettingsError as error:
            # Without its traceback, whose frames would keep the whole map in memory as long as this is shown.
            self._shown = _Shown(shown.current, shown.version, error.with_traceback(None))
            log.error("%s; version %d is kept", error, shown.version)
            if self._on_invalid is not None:
                self._notifier.tell(Notification("on_invalid", (self._on_invalid,), (error,), version, self))
        else:
            self._shown = _Shown(current, version, None)
            # Taken after the swap: a function that is added later was added when this version was already shown.
            if (functions := tuple(self._functions)) and _differ(shown.current, current):
                self._notifier.tell(Notification("on_change", functions, (shown.current, current), version, self))
        self.seen = entries  # last: a thread that waits for it finds everything else ready

    def _made(self, entries: Entries) -> T_co:
        config = Snapshot(entries)
        try:
            made: T_co = self._form.make(self._filling.tree(config))
            return made
        except ShapeError as misfit:
            places = misfit.places
        except BaseException as error:  # the user's validators: after any error, the version does not fit
            if _is_ctrl_c(error):
                raise
            log_defect(self._settings, error)
            places = (((), type(error).__name__),)
        # Outside the `except`: the validators' error may hold values, and would become the context of this one.
        raise self._unfit(config, places)

    def _unfit(self, config: Snapshot, places: Iterable[tuple[Path, str]]) -> SettingsError:
        problems: dict[str, list[str]] = {}
        expected: dict[str, str] = {}
        for path, kind in places:
            key = self._filling.key_of(path, config)
            kinds = problems.setdefault(key, [])
            value = config.get(key)
            problem = _problem_of(value) if isinstance(value, Secret) else kind
            if problem not in kinds:
                kinds.append(problem)
            if kind not in _OF_NO_TYPE and (of_type := self._filling.expected_at(path)):
                expected[key] = f" (expected {of_type})"
        described = {key: ", ".join(kinds) + expected.get(key, "") for key, kinds in problems.items()}
        texts = [f"{key or '(all keys)'}: {problem}" for key, problem in list(described.items())[:SHOWN_PROBLEMS]]
        more = [f"and {len(described) - len(texts)} more"] * (len(described) > len(texts))
        return SettingsError(
            f"version {config.version} of {config.config} does not fit {self._settings.__qualname__}: "
            + "; ".join(texts + more),
            version=config.version,
            problems=described,
        )

    def __repr__(self) -> str:
        return f"<Bound {self._settings.__qualname__} of {self._live.name!r} version {self.version}, {self.state}>"


def form_of(settings: Any) -> Form[Any]:
    """Return how objects of a class are made; TypeError for a class that is neither a model nor a dataclass."""
    # The form is imported only when it is needed; pydantic is loaded by then.
    if isinstance(settings, type) and hasattr(settings, "__pydantic_validator__"):
        from lamina._settings.models import ModelForm  # noqa: PLC0415

        return ModelForm(settings)
    if isinstance(settings, type) and is_dataclass(settings):
        from lamina._settings.dataclasses import DataclassForm  # noqa: PLC0415

        return DataclassForm(settings)
    raise TypeError(f"bind takes a class, a pydantic model or a dataclass, not {_described(cast('object', settings))}")


def _described(it: object) -> str:
    return repr(it) if isinstance(it, type) else f"an object of {type(it)!r}"  # whose repr may hold values


def _problem_of(secret: Secret) -> str:
    if not secret.is_revealed:
        return f"a secret that {why_absent(secret)}"
    return "a secret, which a field of lamina.Secret, or in a model of pydantic.SecretStr or SecretBytes, takes"


def _differ(one: object, other: object) -> bool:
    try:
        return bool(one != other)
    except BaseException as error:  # an __eq__ of the user's
        if _is_ctrl_c(error):
            raise
        return True


def _is_ctrl_c(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()
