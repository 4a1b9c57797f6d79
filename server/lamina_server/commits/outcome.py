"""What a caller is told of its command."""

from collections.abc import Mapping

from lamina_server.domain.record import record
from lamina_server.domain.records import Reply


@record
class Outcome:
    """A command's reply, with its version's header as wire bytes if this transaction made the version."""

    reply: Reply
    header: bytes | None = None


def outcome_of(reply: Reply, headers: Mapping[tuple[str, int], bytes]) -> Outcome:
    """Return a reply with its version's header, if the header is among those of the versions just made."""
    return Outcome(reply, headers.get((reply.config, reply.version.number)) if reply.version else None)
