"""The environment variables of a client. Only this file reads them, for the SDK and the command line.

An argument wins over a variable. An unknown name that begins with LAMINA_ is logged once, with a known name that looks
like it.
"""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Final

from lamina._runtime.log import log
from lamina.errors import InvalidError

TARGET: Final = "LAMINA_TARGET"
TOKEN: Final = "LAMINA_TOKEN"  # noqa: S105 - a name
TOKEN_FILE: Final = "LAMINA_TOKEN_FILE"  # noqa: S105 - a name
TLS_FILES: Final = {"ca": "LAMINA_TLS_CA", "cert": "LAMINA_TLS_CERT", "key": "LAMINA_TLS_KEY"}
PLAINTEXT: Final = "LAMINA_PLAINTEXT"
TIMEOUT: Final = "LAMINA_TIMEOUT"
AUTHOR: Final = "LAMINA_AUTHOR"
CACHE_DIR: Final = "LAMINA_CACHE_DIR"
OUTPUT: Final = "LAMINA_OUTPUT"

_PREFIX: Final = "LAMINA_"
_ALIKE: Final = 0.5
"""Half of both names, in difflib's measure: CA looks like TLS_CA."""

NAMES: Final = (TARGET, TOKEN, TOKEN_FILE, *TLS_FILES.values(), PLAINTEXT, TIMEOUT, AUTHOR, CACHE_DIR, OUTPUT)
_OTHERS: Final = ("LAMINA_SERVER_", "LAMINA_CHANGE_", "LAMINA_EXEC_", "LAMINA_BISECT_", "LAMINA_TEST_")
"""Prefixes of names that others use: the server, commands that `lamina` runs, and the tests of Lamina itself."""

_SERVICE: Final = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)"
)
"""What Kubernetes tells every container of a service, here of one that is named `lamina`."""

_SWITCHES: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}

_CREDENTIAL: Final = re.compile(r"^lamina_[a-z0-9]+_|^ey[\w-]+\.ey[\w-]+\.|-----BEGIN ")
"""How our tokens, JWTs and PEM begin."""
_TOKEN: Final = re.compile(r"lamina_([a-z0-9]{4,32})_[A-Za-z0-9_-]{43,128}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")
"""A whole token, and a JWT."""
NOT_A_NAME: Final = (
    "looks like a token, which no name may hold: revoke that token by its id (lamina_ID_…), and give its name here"
)

_variables: Final = ContextVar[Mapping[str, str]]("variables", default=os.environ)
_told: set[str] = set()


@contextmanager
def ignored() -> Generator[None, None, None]:
    """Have the block complete nothing from the environment, as if it were empty."""
    token = _variables.set({})
    try:
        yield
    finally:
        _variables.reset(token)


def text(name: str) -> str | None:
    """Return a variable's value; None if it is not set or empty."""
    return given(name) or None


def given(name: str) -> str | None:
    """Return a variable's value, which may be empty; None if it is not set."""
    return _variables.get().get(name)


def timeout() -> float | None:
    """Return the seconds of LAMINA_TIMEOUT; InvalidError if it is no number."""
    seconds = text(TIMEOUT)
    if seconds is None:
        return None
    try:
        return float(seconds)
    except ValueError:
        raise InvalidError(f"{TIMEOUT}={seconds!r} is not a number of seconds") from None


def read_token(path: str | os.PathLike[str], source: str) -> str:
    """Read a file that holds a token; InvalidError, with the path and its origin, if it holds none."""
    from pathlib import Path  # noqa: PLC0415 - only for files

    try:
        found = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidError(f"{source}: cannot read {os.fspath(path)}: {error.strerror}") from error
    except UnicodeDecodeError:
        found = ""
    if not found:
        raise InvalidError(f"{source}: {os.fspath(path)} holds no token")
    return found


def login_folder() -> str:
    """Return the folder in which logins are kept, whether or not there is one: in the user's config folder."""
    home = os.environ.get("XDG_CONFIG_HOME") or ""
    # As text: each command looks there, and a Path takes longer to import than the rest of this.
    base = home if os.path.isabs(home) else os.path.expanduser("~/.config")  # noqa: PTH111, PTH117
    return os.path.join(base, "lamina", "logins")  # noqa: PTH118


def is_credential(text: object) -> bool:
    """Return whether a text that should be a path is rather a token or a key itself, which no error may repeat."""
    return isinstance(text, str) and (not text.isprintable() or _CREDENTIAL.search(text) is not None)


def holds_token(text: object) -> bool:
    """Return whether a token stands in a text, most likely pasted there in the place of its name."""
    return isinstance(text, str) and _TOKEN.search(text) is not None


def tls_files() -> dict[str, str]:
    """Return the paths of the TLS variables, by the names of `lamina.TLS`."""
    return {name: path for name, variable in TLS_FILES.items() if (path := text(variable))}


def is_plaintext() -> bool:
    """Return whether LAMINA_PLAINTEXT asks for no TLS; InvalidError if the value is neither yes nor no."""
    wish = given(PLAINTEXT) or ""
    if (switch := _SWITCHES.get(wish.lower())) is None:
        raise InvalidError(f"{PLAINTEXT}={wish!r} is neither 1 nor 0")
    return switch


def tell_unknown() -> None:
    """Log a warning for each variable that looks like one of Lamina's but is none; once in a process."""
    for name, value in _variables.get().items():
        if not name.startswith(_PREFIX) or name in {*NAMES, *_told} or name.startswith(_OTHERS):
            continue
        if not _SERVICE.match(f"{name.removeprefix(_PREFIX)}={value}"):
            _told.add(name)
            log.warning("the environment has %s, which means nothing%s", name, _question(name))


def _question(name: str) -> str:
    """Ask for a name that looks like this one, if there is one. What all names begin with makes none look alike."""
    ends = [known.removeprefix(_PREFIX) for known in NAMES]
    close = get_close_matches(name.removeprefix(_PREFIX), ends, 1, _ALIKE)
    return f": is it {_PREFIX}{close[0]}?" if close else ""
