"""The credential of a client: a fixed token, a source that is asked for one before each call, or none.

It knows neither gRPC nor a server. No repr, error, pickle or log has a token in it.

Worked example: `token=get_token` is a function. Each call and each stream asks it, and sends what it returned. A server
that refuses says "the token has expired", and the client adds "; the token is from the function get_token".
"""

import os
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, ClassVar, Final, TypeAlias

from lamina import _environment
from lamina._mapping.values import check_text
from lamina._runtime.arguments import checked
from lamina._runtime.log import log
from lamina._runtime.public import public
from lamina._runtime.tracebacks import await_users, call_users
from lamina.errors import InvalidError, LaminaError, UnauthenticatedError

Ask: TypeAlias = Callable[[], str | Awaitable[str]]
Token: TypeAlias = str | Ask
"""What `token=` takes: text, or a function that returns it. For lamina.aio it may be a coroutine function."""

NO_CREDENTIALS: Final = "NO_CREDENTIALS"
_BAD_CREDENTIALS: Final = "BAD_CREDENTIALS"
_ABOUT_THE_CALLER: Final = frozenset({NO_CREDENTIALS, _BAD_CREDENTIALS, "NOT_ALLOWED"})

_told_paths: Final[set[str]] = set()
"""The token files about which a warning was logged: one is enough."""

_State: TypeAlias = tuple[int, int, int, int]
_READ_ONCE: Final[_State] = (0, 0, 0, 0)
"""The state of a pipe: once it was read there is nothing more in it, whatever its times are."""


@public("lamina")
class TokenFile:
    """A file that holds a token and is replaced from time to time, as by Kubernetes or Vault's agent.

    `lamina.connect(token=lamina.TokenFile("/var/run/secrets/lamina/token"))`: each call has the file's present token,
    also those of a live or a watch that goes on. While the file cannot be read, or is empty, the last token counts. A
    pipe is read once.
    """

    _source: ClassVar[str] = "TokenFile"
    """What names the file, for the text of an error."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        if _environment.is_credential(self._path):
            raise InvalidError(f"{self._source} takes the path of a file, and was given the token itself")
        self._known: tuple[_State, str] | None = None
        self._is_told = False

    @property
    def path(self) -> str:
        """The path of the file."""
        return self._path

    def __call__(self) -> str:
        """Return the token; InvalidError if there was none yet in the file. It is read only if it has changed."""
        known = self._known
        try:
            state = _state(self._path)
            if known is None or known[0] != state:
                self._known = known = state, _environment.read_token(self._path, self._source)
                self._is_told = False
                _tell_if_others_may_read(self._path)
        except (OSError, InvalidError) as error:
            if known is None:
                raise _unreadable(self._path, self._source, error) from None
            self._tell(error)
        return known[1]

    def _tell(self, error: OSError | InvalidError) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("the last token counts: %s", _unreadable(self._path, self._source, error))

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenFile, (self._path,)

    def __repr__(self) -> str:
        return f"lamina.TokenFile({self._path!r})"


class _FileOfEnvironment(TokenFile):
    """The file of LAMINA_TOKEN_FILE."""

    _source: ClassVar[str] = _environment.TOKEN_FILE


@dataclass(frozen=True, slots=True)
class Credential:
    """The token of a client, or none.

    fixed   a token that never changes
    ask     a function that returns the token for the next call
    origin  where the token comes from, for the text of an error; empty if the caller knows that best
    has_certificate  whether the client has a certificate, which a server may ask for
    """

    fixed: str | None = field(default=None, repr=False)
    ask: Ask | None = field(default=None, repr=False)
    origin: str = ""
    has_certificate: bool = False

    @property
    def is_given(self) -> bool:
        """Whether calls have a token."""
        return self.fixed is not None or self.ask is not None

    @property
    def is_renewed(self) -> bool:
        """Whether another call may have another token."""
        return self.ask is not None

    def present(self) -> str:
        """Ask for the token of the next call; UnauthenticatedError, which names the function, if there is none."""
        assert self.ask is not None
        try:
            result = call_users(self.ask)
        except Exception as error:
            raise self._failure(error) from error
        return self._checked(result)

    async def awaited(self) -> str:
        """Ask for the token of the next call, and await it if needed; errors as in `present`."""
        assert self.ask is not None
        try:
            result = await await_users(_beside_the_loop(self.ask))
        except Exception as error:
            raise self._failure(error) from error
        return self._checked(result)

    def explained(self, error: LaminaError) -> LaminaError:
        """Complete a server's refusal of the caller with what this client knows of its token."""
        if error.reason in _ABOUT_THE_CALLER and (more := self._hint(error.reason)):
            error.args = (f"{error}; {more}",)
        return error

    def _hint(self, reason: str | None) -> str:
        source = self.origin or "token="
        if reason != NO_CREDENTIALS:
            return f"the token is from {self.origin}" if self.origin else ""
        if self.is_given:
            return f"this client has sent the token from {source}: a proxy on the way may have removed it"
        if self.has_certificate:
            return "the certificate of this client was not asked for: the server, or a proxy before it, wants none"
        empty = [name for name in (_environment.TOKEN, _environment.TOKEN_FILE) if _environment.given(name) == ""]
        return f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} set, but empty" if empty else ""

    def _failure(self, error: Exception) -> LaminaError:
        if isinstance(error, UnauthenticatedError):
            return error
        text = f"no token: {self.origin} raised {type(error).__name__}"
        return UnauthenticatedError(text, reason=NO_CREDENTIALS)

    def _checked(self, result: Any) -> str:
        if isawaitable(result):
            if close := getattr(result, "close", None):
                close()
            text = f"no token: {self.origin} returned an awaitable, which only lamina.aio awaits"
            raise UnauthenticatedError(text, reason=NO_CREDENTIALS)
        if not isinstance(result, str) or not _is_token(result):
            what = "a text that is no token" if isinstance(result, str) else type(result).__name__
            text = f"no token: {self.origin} returned {what}; a token is printable ASCII, without a line's end"
            raise UnauthenticatedError(text, reason=NO_CREDENTIALS)
        return result


def credential(token: Token | None, *, awaits: bool) -> Credential:
    """Make the credential of `token=`, else of the environment; TypeError or InvalidError for what can be none.

    A token file is read once. No other function is called yet.
    """
    if token is None:
        return _of_environment()
    if isinstance(token, str):
        return Credential(fixed=_text(check_text(token, "token="), "token="))
    if isinstance(token, os.PathLike):
        raise TypeError("token= takes a file as lamina.TokenFile(path)")
    if not callable(token):
        raise TypeError(f"token= is text, or a function that returns it, not {type(token).__name__}")
    if isinstance(token, TokenFile):
        return _of_file(token, token.path)
    if awaits and isawaitable(token):
        raise TypeError("token= takes the function that returns the awaitable, not the awaitable itself")
    function = checked(token, "token=", awaits=awaits)
    return Credential(ask=function, origin=_name(function))


def _of_environment() -> Credential:
    if (text := _environment.text(_environment.TOKEN)) is not None:
        return Credential(fixed=_text(text, _environment.TOKEN), origin=_environment.TOKEN)
    if (path := _environment.text(_environment.TOKEN_FILE)) is not None:
        return _of_file(_FileOfEnvironment(path), f"{path} ({_environment.TOKEN_FILE})")
    return Credential()


def _of_file(file: TokenFile, shown: str) -> Credential:
    _text(file(), f"the file {shown}")
    return Credential(ask=file, origin=f"the file {shown}")


def _name(function: Any) -> str:
    """Return how an error names a function: by its name, or an object by its own text if it is one of ours."""
    if type(function).__module__ == "lamina":
        return repr(function)
    name = getattr(function, "__qualname__", None) or f"of {type(function).__qualname__}"
    return f"the function {name} of token="


def _text(token: str, source: str) -> str:
    if not _is_token(token):
        raise InvalidError(f"{source} is not the text of a token: printable ASCII, without a line's end")
    return token


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and not text.isspace()


def _beside_the_loop(ask: Ask) -> Ask:
    """Return a function that may ask a provider over the network, and blocks, as one that an event loop can await."""
    if not getattr(ask, "blocks", False):
        return ask
    from asyncio import to_thread  # noqa: PLC0415 - threads have no need of asyncio

    return lambda: to_thread(ask)  # type: ignore[arg-type] # what blocks returns text


def _state(path: str) -> _State:
    found = os.stat(path)  # noqa: PTH116 - before each call: a Path takes longer
    if not stat.S_ISREG(found.st_mode):
        return _READ_ONCE
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _tell_if_others_may_read(path: str) -> None:
    """Warn once of a token file that every account of this machine may read. Windows has no such mode."""
    mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    if sys.platform != "win32" and stat.S_ISREG(mode) and mode & stat.S_IROTH and path not in _told_paths:
        _told_paths.add(path)
        log.warning("others than you may read the token in %s: chmod 600 it, or make the token anew", path)


def _unreadable(path: str, source: str, error: OSError | InvalidError) -> InvalidError:
    if isinstance(error, InvalidError):
        return error
    return InvalidError(f"{source}: cannot read {path}: {error.strerror}")
