"""Which version of a followed config a thread or task has pinned. Pure, but for a flow.

A pin lies in a context variable: each thread and each asyncio task has its own, and a task that is begun within a
block, or `asyncio.to_thread`, takes the block's along.

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
"""Versions of a config that are kept for requests that carry them: after a commit, for a moment, the one before. They
share all that did not change."""

CARRIED_SECONDS: Final = 1.0
"""A request waits no longer for a version that it carries and that is not here: then the newest has to do."""

_PIN: Final = "lamina_pin"
_PINS: Final = "lamina_pins"


class Pins:
    """What is pinned of one config, as one client follows it: shared by all its lives.

    in_use  whether anybody ever pinned anything. Never taken back: a task may run on, pinned, after the block that it
            was begun in, so that nobody knows when the last one is over. Until then reading has nothing to ask for.
    held    gives what the running thread or task has pinned, or None: the variable's own method, as each read calls it.
    """

    __slots__ = ("_blocks", "_recent", "_variable", "held", "in_use")

    def __init__(self) -> None:
        self.in_use = False
        # Its own, where one of a module is the rule, since a context keeps a variable alive that is set in it: here for
        # as long as something is pinned. A mapping of configs in one variable would double what a pinned read costs.
        self._variable: ContextVar[Entries | None] = ContextVar(_PIN, default=None)
        self.held = self._variable.get
        # What each block that goes on here has pinned, the innermost last.
        self._blocks: ContextVar[tuple[Entries, ...] | None] = ContextVar(_PINS, default=None)
        self._recent: tuple[Entries, ...] = ()

    @contextmanager
    def hold(self, choose: Callable[[], Entries]) -> Generator[Snapshot, None, None]:
        """Pin a version for the block: chosen when it is entered, since this may have been made long before."""
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
        """Return the version that a request carries, from here or else from the server; without one, what is shown.

        Without a link no server is asked: the request would wait for an answer that does not come.
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
            return shown  # no such version, or nobody says: a header of somebody else's must not fail a request
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
        """Keep a version of the server's, in place of the one that was kept longest ago."""
        recent = self._recent  # replaced at one go, as threads share it
        if all(each.header.number != entries.header.number for each in recent):
            self._recent = (entries, *recent)[:RECENT_VERSIONS]

    def _end_out_of_turn(self, blocks: tuple[Entries, ...], entries: Entries) -> None:
        """Go on with what the other blocks have pinned: those of two generators end in whichever order."""
        last = max(place for place, each in enumerate(blocks) if each is entries)
        left = blocks[:last] + blocks[last + 1 :]
        self._blocks.set(left)
        self._variable.set(left[-1] if left else None)


def pinnable(snapshot: object, config: str) -> Entries:
    """Return a snapshot's entries; InvalidError if it is another config's, TypeError if it is no snapshot."""
    if not isinstance(snapshot, Snapshot):  # such as the coroutine of an `at` that was not awaited
        raise TypeError(f"pin takes a Snapshot, as at() or carried() gives one, not a {type(snapshot).__name__}")
    if snapshot.config != config:
        raise InvalidError(f"a snapshot of {snapshot.config} cannot be pinned for {config}")
    return snapshot._entries  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nobody else has to know of them
