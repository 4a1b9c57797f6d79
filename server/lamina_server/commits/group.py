"""The commands of one transaction, and their outcomes: records between the event loop and the writer."""

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
    """A command's reply, with its version's header as wire bytes if this transaction made the version."""

    reply: Reply
    header: bytes | None = None


@dataclass(slots=True)
class Submission:
    """A command, and the future in which a caller waits for its outcome."""

    request: RequestKey
    command: Command
    future: "asyncio.Future[Outcome]"


@dataclass(slots=True)
class GroupResult:
    """What became of a group.

    outcomes  an outcome or an error for each command
    made      the versions that memory lacks, in order, also those of other servers
    diverged  the configs of which memory holds another epoch than the store
    marks     the heads of the configs, as the transaction found them
    """

    outcomes: list[Outcome | Exception]
    made: list[EncodedChanges] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    marks: dict[str, HeadMark] = field(default_factory=dict)

    def add(self, other: "GroupResult") -> None:
        """Append the result of the next part of the group. Parts overlap: drop versions already listed."""
        known = {(made.version.config, made.version.number) for made in self.made}
        self.outcomes += other.outcomes
        self.made += [made for made in other.made if (made.version.config, made.version.number) not in known]
        self.diverged += other.diverged
        self.marks = other.marks | self.marks


Commands: TypeAlias = Sequence[tuple[RequestKey, Command]]


@dataclass(frozen=True, slots=True)
class Group:
    """What the writer gets: the submissions and their commands, the frozen heads, and the loop that waits for it."""

    submissions: Sequence[Submission]
    commands: Commands
    heads: Mapping[str, HeadMap]
    loop: asyncio.AbstractEventLoop


def outcome_of(reply: Reply, headers: Mapping[tuple[str, int], bytes]) -> Outcome:
    """Return a reply with its version's header, if the header is among those of the versions just made."""
    return Outcome(reply, headers.get((reply.config, reply.version.number)) if reply.version else None)
