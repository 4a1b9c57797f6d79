"""An admin of `_lamina/access`, made by the server itself: at the first start, and by `lamina-server access reset`.

The token's file is written within the transaction that commits its grant, and before its end. So of several servers
that start at once on one database only one makes an admin. If the process ends after it has written the file, and
before the database has confirmed the commit, the next start takes the token that is in the file.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

from lamina_server.access import token_file
from lamina_server.access.live import read_map
from lamina_server.commits.clock import system_now_us
from lamina_server.commits.decide import perform
from lamina_server.domain import access_checks, access_map
from lamina_server.domain.access import ACCESS_CONFIG, Token
from lamina_server.domain.commands import CommitCommand
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.record import record
from lamina_server.domain.records import RequestKey
from lamina_server.store.contract import CommitUnknownError, Reading, Store, Writing

_AUTHOR = Author("lamina-server")


@record
class Reset:
    """What a reset has made: the version of `_lamina/access`, and the keys that were wrong and were left out."""

    version: int
    wrong: tuple[str, ...]


def make_first(store: Store, find_path: Callable[[], Path], *, limits: MapLimits) -> Path | None:
    """Make the first admin, and return the file with its token; None if there is an admin. Blocks.

    A map that cannot be read as an access may have an admin, so it is left as it is.

    find_path  called if there is no admin; what it raises is raised

    Raises TokenFileError or a ServerError.
    """
    with store.read() as reading:  # first, because other servers may be in the middle of a commit
        if not _lacks_admin(reading):
            return None
    path = find_path()
    with store.write() as writing:
        if not _lacks_admin(writing):
            return None
        token = token_file.make_or_take(path)
        _commit(writing, token, "the first admin", limits=limits)
    return path


def reset(store: Store, *, path: Path | None = None, principal: str = "", limits: MapLimits) -> Reset:
    """Make an admin, whatever `_lamina/access` has: with a new token in a new file, or the principal. Blocks.

    Keys that are wrong are left out, and other tokens of the same name. All else stays.

    Raises TokenFileError or a ServerError; the file is left only if the commit may have happened.
    """
    is_made = False
    try:
        with store.write() as writing:
            wrong = access_map.salvage(read_map(writing)[1])[1]
            token = token_file.make(path) if path else None
            is_made = token is not None
            number = _commit(writing, token or principal, "the access was reset", limits=limits)
    except CommitUnknownError:
        raise
    except BaseException:
        if path and is_made:
            path.unlink(missing_ok=True)
        raise
    return Reset(number, wrong)


def _lacks_admin(reading: Reading) -> bool:
    access, wrong = access_map.salvage(read_map(reading)[1])
    return not wrong and not access_checks.admins(access)


def _commit(writing: Writing, admin: Token | str, message: str, *, limits: MapLimits) -> int:
    """Commit a token and its grant, or the grant of a principal; return the version."""
    head, values = read_map(writing)
    if isinstance(admin, Token):
        changes = access_checks.admin_changes(values, f"token:{admin.name}", admin)
    else:
        changes = access_checks.admin_changes(values, admin)
    command = CommitCommand(
        ACCESS_CONFIG, head.number, head.hash, changes, (), message, author=_AUTHOR, require_base=True
    )
    request = RequestKey("", uuid.uuid4().hex, command.digest())
    reply = perform(writing, request, command, now_us=system_now_us(), limits=limits)
    return reply.version.number if reply.version else 0
