"""The file with the token of an admin that the server has made. Only the server's own account can read it.

It is made as a whole, and never in the place of another file: written under another name, and then linked. So whoever
finds it finds a whole token, whenever the process has ended. One process at a time makes it, because it has the write
lock of the database.
"""

import hmac
import os
import stat
from contextlib import suppress
from pathlib import Path

from lamina_server.access import tokens
from lamina_server.domain.access import Access, Token
from lamina_server.domain.errors import OperatorError
from lamina_server.settings import Settings
from lamina_server.store import address

ADMIN = "admin"
"""The name of the token, so that its principal is `token:admin`."""
SUFFIX = ".admin-token"
_MOST_BYTES = 1_024


class TokenFileError(OperatorError):
    """A file cannot be written, or is not one that a server has written. The text says why and what to do."""

    setting = "bootstrap_token_file"


def path_of(settings: Settings) -> Path:
    """Return where the token of an admin goes: where the settings say, beside the SQLite file, or here.

    Raises TokenFileError if this process has no working directory and needs one.
    """
    place = address.parse(settings.database)
    try:
        if settings.bootstrap_token_file is not None:
            return settings.bootstrap_token_file.absolute()
        if isinstance(place, address.SqliteAddress) and place.path is not None:
            path = address.resolved(place.path)
            return path.with_name(path.name + SUFFIX)
        return Path.cwd() / f"lamina{SUFFIX}"
    except FileNotFoundError:
        text = "the working directory does not exist any more, so the token has no place: name a file for it"
        raise TokenFileError(text) from None


def make(path: Path) -> Token:
    """Make a token, and the file with it. Raise TokenFileError if there is such a file already."""
    token_id, text, sha256 = tokens.make()
    temporary = _temporary(path)
    try:
        temporary.unlink(missing_ok=True)
        try:
            _write(temporary, text)
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except FileExistsError:
        raise TokenFileError(f"{path} exists: move it away, or name another file for the new token") from None
    except OSError as error:
        why = f"cannot write the token of an admin to {path}: {error.strerror}; name another file for it"
        raise TokenFileError(why) from None
    return Token(token_id, ADMIN, sha256)


def make_or_take(path: Path) -> Token:
    """Make a token and its file; or take the one that is there, because a process has ended before it could use it."""
    if not os.path.lexists(path):
        return make(path)
    token = _taken(path)
    with suppress(OSError):
        _temporary(path).unlink(missing_ok=True)  # the process has perhaps ended before it could
    return token


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def is_of_admin(path: Path, access: Access) -> bool:
    """Return whether a file has a token that counts, as `make` has written it."""
    try:
        token = _taken(path)
    except TokenFileError:
        return False
    found = access.tokens.get(token.id)
    return found is not None and hmac.compare_digest(found.sha256, token.sha256)


def _taken(path: Path) -> Token:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - by its descriptor, so that it is the file that was checked
            is_private = _is_private(os.fstat(descriptor))
            text = file.read(_MOST_BYTES).decode(errors="replace") if is_private else ""
    except OSError as error:
        raise TokenFileError(f"cannot read {path}: {error.strerror}; move it away, or name another file") from None
    if not is_private:
        text = "is no file that belongs to this account and that only this account can open"
        raise TokenFileError(f"{path} is there already, and {text}: move it away, or name another file")
    found = tokens.parse(text.strip())
    if found is None:
        raise TokenFileError(f"{path} is there already, and has no token in it: move it away, or name another file")
    token_id, sha256 = found
    return Token(token_id, ADMIN, sha256)


def _is_private(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - made with its mode
        file.write(f"{text}\n")
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
