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
"""At most this many versions wait for callbacks. Then the map waits too, so that memory does not fill up."""

ENDING_SECONDS: Final = 1.0
"""How long `close` waits for the background: the stream is cancelled by then, and a file is soon written."""


class Binding(Protocol):
    """An object of settings that follows a live.

    seen     the entries that it has seen last
    is_over  whether its live is closed: it stays as it is
    """

    seen: Entries
    is_over: bool

    def look(self, entries: Entries, /) -> None:
        """Show a version if it fits, or report why not. Raises nothing."""
        ...


class Notification(NamedTuple):
    """The callbacks of bound settings, and their arguments.

    what  the public name of the callback, such as "on_change"
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
                yield DueCall(function, self.arguments, self.what, self.version)


class Notifier(Protocol):
    """Calls the callbacks of bound settings."""

    def begin_calling(self) -> None:
        """Prepare to call."""
        ...

    def tell(self, notification: Notification, /) -> None:
        """Queue these calls after those that already wait."""
        ...


class Callback(NamedTuple):
    """A function, the version that was shown when it was added, and its live.

    The reference keeps that live from being collected: the functions of `client.live(name).on_change(function)` are
    called even if nothing else refers to the live.
    """

    function: Callable[[VersionChanges], Any]
    since: int
    live: object


class Listener:
    """One live's callbacks and bound settings, until it is closed."""

    __slots__ = ("bindings", "callbacks")

    def __init__(self) -> None:
        # Both are replaced when they change, so that they can be read without a lock.
        self.callbacks: tuple[Callback, ...] = ()
        self.bindings: tuple[Binding, ...] = ()

    def add(self, callback: Callback) -> None:
        """Add a callback."""
        self.callbacks = (*self.callbacks, callback)

    def bind(self, binding: Binding) -> None:
        """Add bound settings."""
        self.bindings = (*self.bindings, binding)

    def close(self) -> None:
        """Drop the callbacks, and leave bound settings as they are."""
        for binding in self.bindings:
            binding.is_over = True
        self.callbacks, self.bindings = (), ()

    def has_seen(self, version: SupportsIndex) -> bool:
        """Return whether all bound settings have seen a version, or a later one."""
        number = operator.index(version)
        return all(binding.seen.header.number >= number for binding in self.bindings)


class DueCall(NamedTuple):
    """One call to make now.

    what  the public name of the callback, such as "on_change"
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    what: str
    version: int

    def failed(self) -> None:
        """Log the function's error, with its traceback."""
        # Not its repr: a method's object may be the settings, and their values must not be logged.
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        log.exception("%s: %s failed at version %d", self.what, name, self.version)


Due: TypeAlias = ReceivedVersion | Notification


class Audience:
    """The lives of one config, and the calls that are due for them. Shells lock it where threads share it."""

    def __init__(self, callbacks_behind: int = CALLBACKS_BEHIND) -> None:
        self._callbacks_behind = callbacks_behind
        self._due: deque[Due] = deque()
        self.listeners: tuple[Listener, ...] = ()

    @property
    def has_functions(self) -> bool:
        """Whether there are callbacks or bound settings."""
        return any(listener.callbacks or listener.bindings for listener in self.listeners)

    @property
    def has_bindings(self) -> bool:
        """Whether there are bound settings."""
        return any(listener.bindings for listener in self.listeners)

    @property
    def is_behind(self) -> bool:
        """Whether so many calls wait that the map must wait too."""
        return len(self._due) > self._callbacks_behind

    @property
    def is_due(self) -> bool:
        """Whether calls wait."""
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
        """Return the bound settings that have not seen these entries."""
        every = (binding for listener in self.listeners for binding in listener.bindings)
        return [binding for binding in every if binding.seen is not entries]

    def put(self, due: Iterable[Due]) -> None:
        """Queue calls, after those that already wait."""
        self._due.extend(due)

    def take(self) -> Due:
        """Return the calls that have waited longest."""
        return self._due.popleft()

    def forget_due(self) -> None:
        """Drop all calls that wait."""
        self._due.clear()

    def calls(self, due: Due) -> Iterator[DueCall]:
        """Yield the calls to make, one after the other, without those of a live that is closed in the meantime."""
        if isinstance(due, Notification):
            yield from due.calls()
        elif version := _readable(due):
            for listener in self.listeners:
                for callback in listener.callbacks:
                    if version.version > callback.since and listener.callbacks:  # unless it was closed in the meantime
                        yield DueCall(callback.function, (version,), "on_change", version.version)


def _readable(received: ReceivedVersion) -> VersionChanges | None:
    """Return the record for callbacks; None, with a log, if it has a value that this client does not know."""
    try:
        return version_changes_of(*received)
    except LaminaError:
        header = received.header
        log.exception("on_change: version %d of %s cannot be read", header.version, header.config)
        return None


def has_reached(tracker: HeadTracker, version: SupportsIndex) -> bool:
    """Return whether a version was reached. Raise the error that has ended the tracker before.

    InvalidError for a version of another config.
    """
    if tracker.entries.header.number >= number_of(version, tracker.entries.header.config):
        return True
    if tracker.failure is not None:
        raise tracker.failure.with_traceback(None)  # without the frames of earlier raises
    return False
