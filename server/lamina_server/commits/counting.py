"""What became of a command, in the words of the metrics. Pure."""

from typing import Final

from lamina_server.commits.group import AbandonedError
from lamina_server.commits.outcome import Outcome
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.store.contract import CommitUnknownError

OUTCOMES: Final = ("created", "repeated", "unchanged", "conflict", "refused", "abandoned", "failed", "unknown")

_FAILURES: Final = {
    Reason.STORE_UNAVAILABLE,
    Reason.STORE_UNUSABLE,
    Reason.DISK_FULL,
    Reason.HASH_MISMATCH,
    Reason.BUG,
}


def outcome_name(outcome: Outcome | Exception) -> str:
    """Return one of these.

    created    a new version was made
    repeated   the request had made its version before, and its answer was lost
    unchanged  the command changes nothing, so no version was made
    conflict   another commit had changed the same keys
    refused    the command breaks a rule or a limit
    abandoned  its caller left before it began
    failed     the database could not carry it out, and wrote nothing
    unknown    the database did not confirm it
    """
    if isinstance(outcome, Outcome):
        if outcome.header is not None:
            return "created"
        return "repeated" if outcome.reply.created else "unchanged"
    if isinstance(outcome, AbandonedError):
        return "abandoned"
    if isinstance(outcome, CommitUnknownError):
        return "unknown"
    if not isinstance(outcome, ServerError) or outcome.reason in _FAILURES:
        return "failed"
    return "conflict" if outcome.reason is Reason.CONFLICT else "refused"
