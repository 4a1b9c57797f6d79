"""A map as a command's environment: which variables there are, and whether the system takes them; it starts nothing.

The names and texts are those of `get -o env`. An environment is in bytes: ours is UTF-8, whatever the locale is.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lamina.cli.formats import env
from lamina.cli.formats.env import EnvFileError

VARIABLE_LIMIT_BYTES: Final = 128 * 1024
"""What Linux starts a program with: a variable with its name and the end of it; it refuses longer ones."""
_ALL_LIMIT_BYTES: Final = 6 * 2**20
"""Linux takes no more, however much the limit of the stack would allow."""
_END_BYTES: Final = len(b"=\0")
_POINTER_BYTES: Final = 8
"""The system counts, for each variable and argument, the pointer to it too."""


def variables(entries: Mapping[str, Any], *, upper: bool = False) -> dict[str, str]:
    """Return a map's variables. Raises EnvFileError, naming the key, where one cannot be."""
    keys = env.named(entries, upper=upper)
    found = env.variables(entries, upper=upper)
    for name, text in found.items():
        if not fits(name, text):
            limit = f"{VARIABLE_LIMIT_BYTES // 1024} KiB"
            raise EnvFileError(f"env cannot hold {keys[name]}: it is longer than the system takes ({limit})")
    return found


def fits(name: str, text: str) -> bool:
    """Return whether the system takes a variable."""
    return len(name.encode()) + len(text.encode()) + _END_BYTES <= VARIABLE_LIMIT_BYTES


def laid_over(values: Mapping[str, str], *, without: str = "") -> dict[bytes, bytes]:
    """Lay variables over this process's own, without those of its own whose names begin with `without`."""
    begin = without.encode()
    inherited = {name: value for name, value in os.environb.items() if not begin or not name.startswith(begin)}
    return inherited | {name.encode(): value.encode() for name, value in values.items()}


def room_for(environment: Mapping[bytes, bytes], command: Sequence[str]) -> bool:
    """Return whether the system starts a command with an environment so large as a whole."""
    names = sum(len(name) + len(value) + _END_BYTES + _POINTER_BYTES for name, value in environment.items())
    words = sum(len(os.fsencode(word)) + 1 + _POINTER_BYTES for word in command)
    return names + words <= min(os.sysconf("SC_ARG_MAX"), _ALL_LIMIT_BYTES)
