"""The commands of one transaction, and what became of them: records between the event loop and the writer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.maps import HeadMap
from lamina_server.domain.commands import Command
from lamina_server.domain.records import HeadMark, Reply, RequestKey


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to: its reply, and its version's header as wire bytes where it was made just now."""

    reply: Reply
    header: bytes | None = None


@dataclass(slots=True)
class Submission:
    """A command, and who waits for its outcome."""

    request: RequestKey
    command: Command
    future: "asyncio.Future[Outcome]"


@dataclass(slots=True)
class GroupResult:
    """What became of a batch: an outcome or an error for each command, and what it changes in memory."""

    outcomes: list[Outcome | Exception]
    made: list[EncodedChanges] = field(default_factory=list)
    forked: list[str] = field(default_factory=list)
    marks: dict[str, HeadMark] = field(default_factory=dict)

    def add(self, other: "GroupResult") -> None:
        """Append what became of the next part; each part says anew what memory lacks, so some of it is known."""
        known = {(made.version.config, made.version.number) for made in self.made}
        self.outcomes += other.outcomes
        self.made += [made for made in other.made if (made.version.config, made.version.number) not in known]
        self.forked += other.forked
        self.marks = other.marks | self.marks


Commands: TypeAlias = Sequence[tuple[RequestKey, Command]]


@dataclass(frozen=True, slots=True)
class Group:
    """What the writer is handed: commands, those who wait for them, the heads that are lent, and who is to hear."""

    waiting: Sequence[Submission]
    commands: Commands
    held: Mapping[str, HeadMap]
    loop: asyncio.AbstractEventLoop


def outcome_of(reply: Reply, headers: Mapping[tuple[str, int], bytes]) -> Outcome:
    """Return a reply with its version's header, where this transaction made the version."""
    return Outcome(reply, headers.get((reply.config, reply.version.number)) if reply.version else None)
