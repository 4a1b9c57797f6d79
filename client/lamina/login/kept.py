"""The logins of this user: one file for each, readable by nobody else, in `lamina/logins` of the user's config folder.

A login is kept for the targets that it was made for, and is sent to no other server. A new file is written beside it,
synced and renamed, so that a reader always finds a whole one. Whoever writes holds the folder's lock.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from lamina import _environment
from lamina._runtime import private_files
from lamina._runtime.copies import Uncopyable
from lamina._runtime.log import log
from lamina._runtime.public import public
from lamina.errors import InvalidError, UnauthenticatedError
from lamina.login.provider import seconds_in

if sys.platform != "win32":
    import fcntl

DEFAULT_TARGET: Final = "localhost:7440"
_PORT: Final = ":7440"
_SUFFIX: Final = ".json"
_JWT_DOTS: Final = 2
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0


@public("lamina.login")
@dataclass(frozen=True, slots=True)
class Login(Uncopyable):
    """A login at a provider: its token, and what renews it.

    targets  the servers that it is for, such as "lamina.example:7440"
    expires  when the token ends, in seconds since the epoch
    """

    _instead: ClassVar[str] = "keep(login) writes it where this user's other processes find it"

    issuer: str
    client_id: str
    token_endpoint: str = field(repr=False)
    token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    obtained: float
    expires: float
    targets: tuple[str, ...] = ()


def login_of(answer: Mapping[str, Any], issuer: str, client_id: str, token_endpoint: str) -> Login:
    """Make a login of a provider's answer; UnauthenticatedError if it has no token that a Lamina server could check.

    That is a JWT. Some providers, such as Google, make an access token that only they can read; then it is the token
    that says who the person is.
    """
    tokens = [answer.get(name) for name in ("access_token", "id_token")]
    token = next((each for each in tokens if isinstance(each, str) and each.count(".") == _JWT_DOTS), None)
    if token is None:
        text = f"{issuer} brings no JWT, which a Lamina server could check: ask for one by --audience or --scope"
        raise UnauthenticatedError(text)
    refresh, now = answer.get("refresh_token"), time.time()
    return Login(
        issuer=issuer,
        client_id=client_id,
        token_endpoint=token_endpoint,
        token=token,
        refresh_token=refresh if isinstance(refresh, str) else None,
        obtained=now,
        expires=now + seconds_in(answer, "expires_in", _UNKNOWN_LIFETIME_SECONDS),
    )


@public("lamina.login")
def keep(login: Login, target: str | None = None) -> Login:
    """Keep a login for a target, by default LAMINA_TARGET, in place of earlier ones; return it with its targets."""
    kept = replace(login, targets=addresses(target))
    with locked():
        for path, known in _all():
            if set(known.targets) & set(kept.targets):
                path.unlink(missing_ok=True)
        write(kept)
    return kept


@public("lamina.login")
def find(target: str | None = None) -> Login | None:
    """Return the login that is kept for a target, by default LAMINA_TARGET; None if there is none."""
    wanted = set(addresses(target))
    return next((login for _, login in _all() if wanted <= set(login.targets)), None)


@public("lamina.login")
def forget(target: str | None = None) -> list[Login]:
    """Delete the logins that are kept for a target, by default LAMINA_TARGET; return them."""
    wanted = set(addresses(target))
    with locked():
        found = [(path, login) for path, login in _all() if wanted & set(login.targets)]
        for path, _ in found:
            path.with_suffix(".new").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    return [login for _, login in found]


@public("lamina.login")
def addresses(target: str | None = None) -> tuple[str, ...]:
    """Return the addresses of a target, by default LAMINA_TARGET, as logins are kept by: with a port, in order."""
    text = target if target is not None else _environment.text(_environment.TARGET) or DEFAULT_TARGET
    return tuple(sorted(_completed(part.strip()) for part in text.split(",")))


def write(login: Login) -> None:
    """Write a login's file, for this user alone. The caller holds the lock."""
    path = _folder() / (hashlib.sha256("\n".join(login.targets).encode()).hexdigest()[:16] + _SUFFIX)
    private_files.replace(path, json.dumps(asdict(login)).encode())


@contextmanager
def locked() -> Generator[None, None, None]:
    """Hold the lock of the folder, which is made if there is none. Systems without file locks have none."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="utf-8") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _all() -> Iterator[tuple[Path, Login]]:
    """Yield the logins and their files; a damaged one, and one that others may have written, is left out."""
    try:
        paths = sorted(_folder().glob(f"*{_SUFFIX}"))
    except OSError:
        return
    for path in paths:
        with suppress(FileNotFoundError):  # another process has just deleted it
            try:
                yield path, _read(path)
            except (OSError, ValueError, TypeError) as error:
                log.warning("the login in %s cannot be used: %s", path, error)


def _read(path: Path) -> Login:
    with path.open(encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if sys.platform != "win32" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
            raise InvalidError("others than this user may read or write it: chmod 600, or log in again")
        content: dict[str, Any] = json.load(file)
    try:
        content["targets"] = tuple(content["targets"])
        return Login(**content)
    except (KeyError, TypeError):
        raise InvalidError("it is damaged: log in again") from None


def _folder() -> Path:
    return Path(_environment.login_folder())


def _completed(address: str) -> str:
    if address.startswith("unix:"):
        return address
    host_only = ":" not in address or (address.startswith("[") and address.endswith("]"))
    return address.lower() + (_PORT if host_only else "")


def joined(targets: Iterable[str]) -> str:
    """Return targets as one text, as `--target` takes them."""
    return ",".join(targets)
