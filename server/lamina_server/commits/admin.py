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
from lamina_server.domain import access_map
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


def make_first(
    store: Store, find_path: Callable[[], Path], *, limits: MapLimits, now_us: Callable[[], int] = system_now_us
) -> Path | None:
    """Make the first admin, and return the file with its token; None if there is an admin. Blocks.

    A map that cannot be read as an access may have an admin, so it is left as it is.

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
        _commit(writing, token, "the first admin", limits=limits, now_us=now_us())
    return path


def reset(store: Store, path: Path, *, limits: MapLimits) -> Reset:
    """Make an admin with a new token in a new file, whatever `_lamina/access` has. Blocks.

    Keys that are wrong are left out, and other tokens of the same name. All else stays.

    Raises TokenFileError or a ServerError; the file is left only if the commit may have happened.
    """
    is_made = False
    try:
        with store.write() as writing:
            wrong = access_map.salvage(read_map(writing)[1])[1]
            token = token_file.make(path)
            is_made = True
            number = _commit(writing, token, "the access was reset", limits=limits, now_us=system_now_us())
    except CommitUnknownError:
        raise
    except BaseException:
        if is_made:
            path.unlink(missing_ok=True)
        raise
    return Reset(number, wrong)


def _lacks_admin(reading: Reading) -> bool:
    access, wrong = access_map.salvage(read_map(reading)[1])
    return not wrong and not access_map.admins(access)


def _commit(writing: Writing, token: Token, message: str, *, limits: MapLimits, now_us: int) -> int:
    """Commit a token and its grant, and return the version."""
    head, values = read_map(writing)
    changes = access_map.admin_changes(values, token)
    command = CommitCommand(
        ACCESS_CONFIG, head.number, head.hash, changes, (), message, author=_AUTHOR, require_base=True
    )
    request = RequestKey("", uuid.uuid4().hex, command.digest())
    reply = perform(writing, request, command, now_us=now_us, limits=limits)
    assert reply.version is not None
    return reply.version.number
