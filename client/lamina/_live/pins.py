"""Which version of a config a thread or task has pinned. Pure, except for a flow.

A pin is in a context variable: each thread and each asyncio task has its own, and a task or an `asyncio.to_thread` that
is started in a block inherits the block's pin.

Worked example: two requests run at once, as tasks. The first has pinned version 7 and waits for its database; 8 comes,
and the second pins that. Both read `live["x"]`: the first one 7's, the second one 8's. A task without a pin reads 8's.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import replace
from typing import Final

from lamina._flows import reads
from lamina._flows.effects import Flow
from lamina._flows.session import Session
from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import Snapshot
from lamina.errors import InvalidError, LaminaError

RECENT_VERSIONS: Final = 8
"""The number of versions that are kept for requests that carry them: just after a commit, that is the version before.
They share all unchanged values."""

CARRIED_SECONDS: Final = 1.0
"""A request waits at most this long for a version that it carries and that is not cached; then it gets the newest."""

_PIN: Final = "lamina_pin"
_PINS: Final = "lamina_pins"


class Pins:
    """What is pinned of one config, as one client follows it: shared by all its lives.

    in_use  whether there was ever a pin. It is never reset: a task may go on with a pin after its block has ended, so
            we do not know when the last pin ends. Before the first pin, reads need not look for one.
    held    returns the pin of the running thread or task, or None. It is the variable's own method: each read calls it.
    """

    __slots__ = ("_blocks", "_recent", "_variable", "held", "in_use")

    def __init__(self) -> None:
        self.in_use = False
        # One variable for each object, not one for the module as usual: a context keeps a variable alive while it is
        # set, here while a pin exists. A mapping of configs in one variable would double the cost of a pinned read.
        self._variable: ContextVar[Entries | None] = ContextVar(_PIN, default=None)
        self.held = self._variable.get
        # The pins of all open blocks, the innermost last.
        self._blocks: ContextVar[tuple[Entries, ...] | None] = ContextVar(_PINS, default=None)
        self._recent: tuple[Entries, ...] = ()

    @contextmanager
    def hold(self, choose: Callable[[], Entries]) -> Generator[Snapshot, None, None]:
        """Pin a version for the block. It is chosen on entry, because this object may have been made long before."""
        entries = choose()
        self.in_use = True
        blocks = (*(self._blocks.get() or ()), entries)
        tokens = self._variable.set(entries), self._blocks.set(blocks)
        try:
            yield Snapshot(entries)
        finally:
            found = self._blocks.get()
            try:
                self._variable.reset(tokens[0])
                self._blocks.reset(tokens[1])
            except ValueError:
                text = "a pin ends in another thread, task or context than it began in: it held nothing here"
                raise InvalidError(text) from None
            if found is not blocks:
                self._end_out_of_turn(found or (), entries)

    def carried(self, session: Session, shown: Entries, version: int | None, *, is_linked: bool) -> Flow[Entries]:
        """Return the version that a request carries, from the cache or from the server; without one, the shown version.

        Without a connection no server is asked: the request would wait in vain.
        """
        for entries in (shown, *self._recent):
            if entries.header.number == version:
                return entries
        if version is None or version < 1 or not is_linked:
            return shown
        hurried = replace(session, timeout_seconds=min(session.timeout_seconds, CARRIED_SECONDS))
        try:
            entries = yield from reads.at(hurried, shown, version)
        except LaminaError:
            return shown  # no such version, or no answer: a header must never fail a request
        self.keep(entries)
        return entries

    @staticmethod
    def without() -> Context:
        """Return a copy of the running context without any pin, for threads and tasks that outlast every block."""
        context = copy_context()
        for variable in list(context):
            if variable.name in {_PIN, _PINS}:
                context.run(variable.set, None)
        return context

    def keep(self, entries: Entries) -> None:
        """Cache a version from the server, in place of the oldest one."""
        recent = self._recent  # replaced as a whole, because threads share it
        if all(each.header.number != entries.header.number for each in recent):
            self._recent = (entries, *recent)[:RECENT_VERSIONS]

    def _end_out_of_turn(self, blocks: tuple[Entries, ...], entries: Entries) -> None:
        """Return to the pins of the other blocks: the blocks of two generators can end in any order."""
        last = max(place for place, each in enumerate(blocks) if each is entries)
        left = blocks[:last] + blocks[last + 1 :]
        self._blocks.set(left)
        self._variable.set(left[-1] if left else None)


def pinnable(snapshot: object, config: str) -> Entries:
    """Return a snapshot's entries; InvalidError if it is another config's, TypeError if it is no snapshot."""
    if not isinstance(snapshot, Snapshot):  # such as a coroutine, if `at` was not awaited
        raise TypeError(f"pin takes a Snapshot, as at() or carried() gives one, not a {type(snapshot).__name__}")
    if snapshot.config != config:
        raise InvalidError(f"a snapshot of {snapshot.config} cannot be pinned for {config}")
    return snapshot._entries  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - only a pin needs them
