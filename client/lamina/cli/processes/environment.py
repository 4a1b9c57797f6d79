"""A map as a command's environment: its variables, and whether the system accepts them; it starts nothing.

The names and texts are those of `get -o env`. An environment is in bytes: ours is UTF-8 in every locale.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lamina.cli.formats import env
from lamina.cli.formats.env import EnvFileError

VARIABLE_LIMIT_BYTES: Final = 128 * 1024
"""Linux's limit for one variable, with its name and its end."""
_ALL_LIMIT_BYTES: Final = 6 * 2**20
"""Linux's limit for the whole environment, even if the limit of the stack is higher."""
_END_BYTES: Final = len(b"=\0")
_POINTER_BYTES: Final = 8
"""For each variable and argument, the system also counts its pointer."""


def variables(entries: Mapping[str, Any], *, upper: bool = False) -> dict[str, str]:
    """Return a map's variables. Raises EnvFileError with the key that cannot be a variable."""
    keys = env.named(entries, upper=upper)
    found = env.variables(entries, upper=upper)
    for name, text in found.items():
        if not fits(name, text):
            limit = f"{VARIABLE_LIMIT_BYTES // 1024} KiB"
            raise EnvFileError(f"env cannot hold {keys[name]}: it is longer than the system takes ({limit})")
    return found


def fits(name: str, text: str) -> bool:
    """Return whether the system accepts a variable."""
    return len(name.encode()) + len(text.encode()) + _END_BYTES <= VARIABLE_LIMIT_BYTES


def laid_over(values: Mapping[str, str], *, without: str = "") -> dict[bytes, bytes]:
    """Return this process's variables, without names that begin with `without`, replaced by the given ones."""
    begin = without.encode()
    inherited = {name: value for name, value in os.environb.items() if not begin or not name.startswith(begin)}
    return inherited | {name.encode(): value.encode() for name, value in values.items()}


def room_for(environment: Mapping[bytes, bytes], command: Sequence[str]) -> bool:
    """Return whether the system starts a command with an environment of this size."""
    names = sum(len(name) + len(value) + _END_BYTES + _POINTER_BYTES for name, value in environment.items())
    words = sum(len(os.fsencode(word)) + 1 + _POINTER_BYTES for word in command)
    return names + words <= min(os.sysconf("SC_ARG_MAX"), _ALL_LIMIT_BYTES)
