"""The audience of a config's new versions: its lives, their functions, and what is bound to them. Pure.

It neither waits nor calls. The shells do: they say when versions come, and call what is due, one after the other.

Worked example: two lives have a function each, f and g. Versions 8 and 9 come: 8 is due for f, then for g, then 9. The
first live is closed while g is called with 8: what is left is 9 for g.
"""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol, SupportsIndex, TypeAlias

from lamina._flows.points import number_of
from lamina._live.tracking import HeadTracker, ReceivedVersion
from lamina._mapping.entries import Entries
from lamina._runtime.log import log
from lamina._wire.messages import version_changes_of
from lamina.errors import LaminaError
from lamina.records import VersionChanges

CALLBACKS_BEHIND: Final = 1_000
"""So many versions may wait for callbacks. Beyond that the map waits too, so that memory does not fill up."""

ENDING_SECONDS: Final = 1.0
"""How long `close` waits for what runs in the background: the stream is cancelled by then, and a file soon written."""


class Binding(Protocol):
    """An object of settings that follows a live.

    seen     the entries that it has looked at last
    is_over  whether its live is closed: it stays as it is
    """

    seen: Entries
    is_over: bool

    def look(self, entries: Entries, /) -> None:
        """Show a version if it fits, or report why not. Raises nothing."""
        ...


class Notification(NamedTuple):
    """The functions of something bound, and what to call them with.

    what  what the user calls that, such as "on_change"
    """

    what: str
    functions: tuple[Callable[..., Any], ...]
    arguments: tuple[Any, ...]
    version: int
    binding: Binding

    def calls(self) -> "Iterator[DueCall]":
        """Yield the calls one by one, until the live is closed."""
        for function in self.functions:
            if not self.binding.is_over:
                # Its object, if it is a method, may be the settings, whose values are not for a log.
                name = getattr(function, "__qualname__", type(function).__qualname__)
                yield DueCall(function, self.arguments, f"{self.what}: {name}", self.version)


class Notifier(Protocol):
    """What calls the functions of something bound."""

    def begin_calling(self) -> None:
        """Be ready to call."""
        ...

    def tell(self, notification: Notification, /) -> None:
        """Call these functions after those that wait already."""
        ...


class Callback(NamedTuple):
    """A function to call, the version that was shown already when it was added, and the live that it was given to.

    The reference keeps that live from being collected: the functions of `client.live(name).on_change(function)` are
    called although nobody else has the live.
    """

    function: Callable[[VersionChanges], Any]
    since: int
    live: object


class Listener:
    """One live, as the others know it: the functions to call for it and what is bound to it, until it is closed."""

    __slots__ = ("bindings", "callbacks")

    def __init__(self) -> None:
        # Both are replaced when they change, so that they can be read without a lock.
        self.callbacks: tuple[Callback, ...] = ()
        self.bindings: tuple[Binding, ...] = ()

    def add(self, callback: Callback) -> None:
        """Have a function called with what comes."""
        self.callbacks = (*self.callbacks, callback)

    def bind(self, binding: Binding) -> None:
        """Have something bound look at what comes."""
        self.bindings = (*self.bindings, binding)

    def close(self) -> None:
        """Call nothing any more, and leave what is bound as it is."""
        for binding in self.bindings:
            binding.is_over = True
        self.callbacks, self.bindings = (), ()

    def has_seen(self, version: SupportsIndex) -> bool:
        """Return whether all that is bound has looked at a version, or a later one."""
        number = operator.index(version)
        return all(binding.seen.header.number >= number for binding in self.bindings)


class DueCall(NamedTuple):
    """One call to make now.

    name  what to call the function in a log
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    name: str
    version: int

    def failed(self) -> None:
        """Report what the function has raised, with its traceback."""
        log.exception("%s failed at version %d", self.name, self.version)


Due: TypeAlias = ReceivedVersion | Notification


class Audience:
    """The lives of one config, and the calls that are due for them. Shells lock it where threads share it."""

    def __init__(self, callbacks_behind: int = CALLBACKS_BEHIND) -> None:
        self._callbacks_behind = callbacks_behind
        self._due: deque[Due] = deque()
        self.listeners: tuple[Listener, ...] = ()

    @property
    def has_functions(self) -> bool:
        """Whether there is anything to call or to bind."""
        return any(listener.callbacks or listener.bindings for listener in self.listeners)

    @property
    def has_bindings(self) -> bool:
        """Whether something is bound."""
        return any(listener.bindings for listener in self.listeners)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be called that nothing more may come."""
        return len(self._due) > self._callbacks_behind

    @property
    def is_due(self) -> bool:
        """Whether something waits to be called."""
        return bool(self._due)

    def join(self, listener: Listener) -> None:
        """Add a live."""
        self.listeners = (*self.listeners, listener)

    def leave(self, listener: Listener) -> bool:
        """Remove a live; return whether it was the last."""
        listener.close()
        self.listeners = tuple(each for each in self.listeners if each is not listener)
        return not self.listeners

    def behind(self, entries: Entries) -> list[Binding]:
        """Return what is bound and has not looked at these entries."""
        every = (binding for listener in self.listeners for binding in listener.bindings)
        return [binding for binding in every if binding.seen is not entries]

    def put(self, due: Iterable[Due]) -> None:
        """Have calls made, after those that wait already."""
        self._due.extend(due)

    def take(self) -> Due:
        """Return what has waited longest."""
        return self._due.popleft()

    def forget_due(self) -> None:
        """Drop all calls that wait."""
        self._due.clear()

    def calls(self, due: Due) -> Iterator[DueCall]:
        """Yield the calls to make, one after the other; a live that is closed meanwhile is left out."""
        if isinstance(due, Notification):
            yield from due.calls()
        elif version := _readable(due):
            for listener in self.listeners:
                for callback in listener.callbacks:
                    if version.version > callback.since and listener.callbacks:  # not closed meanwhile
                        function = callback.function
                        yield DueCall(function, (version,), f"on_change: {function!r}", version.version)


def _readable(received: ReceivedVersion) -> VersionChanges | None:
    """Return the record that callbacks are called with. A value that this client does not know is only logged."""
    try:
        return version_changes_of(*received)
    except LaminaError:
        header = received.header
        log.exception("on_change: version %d of %s cannot be told", header.version, header.config)
        return None


def has_reached(tracker: HeadTracker, version: SupportsIndex) -> bool:
    """Return whether a version was reached. Raise the error that has ended the tracker before.

    InvalidError for a version of another config.
    """
    if tracker.entries.header.number >= number_of(version, tracker.entries.header.config):
        return True
    if tracker.failure is not None:
        raise tracker.failure.with_traceback(None)  # not where it came from, nor where it was raised before
    return False
