"""Secrets in what the command line writes: masked, or with their contents. It knows no verb and no format.

For people a secret is MASK. A program could take that for the value. So YAML tags it, JSON and TOML have an object
(`{"secret": true}`) in its place, and env, which has only texts, a comment: see formats/.
"""

from collections.abc import Mapping
from typing import Any, Final

import lamina
from lamina.cli.output.text import MASK

MARK: Final = {"secret": True}
"""Stands for a secret in JSON and TOML."""
MASKED: Final = lamina.Secret(MASK)
"""Stands for a secret in the entries of a file."""
_NAMED_KEYS: Final = 8


def masked(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries for a file, with MASKED in the place of each secret."""
    return {key: MASKED if isinstance(value, lamina.Secret) else value for key, value in entries.items()}


def is_mask(value: object) -> bool:
    """Return whether a value that was typed, or read from a file, is what stands for a secret."""
    value = opened(value)
    return value.strip() == MASK if isinstance(value, str) else value == MARK


def secrets_in(entries: Mapping[str, Any]) -> list[lamina.Secret]:
    """Return the values that are secrets."""
    return [value for value in entries.values() if isinstance(value, lamina.Secret)]


def contents(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries in which each secret is its content. The SDK's error, with all keys, if one was not revealed."""
    check_revealed(entries)
    return {key: opened(value) for key, value in entries.items()}


def opened(value: Any) -> Any:
    """Return the content of a revealed secret, and any other value as it is."""
    return value.reveal() if isinstance(value, lamina.Secret) and value.is_revealed else value


def check_revealed(entries: Mapping[str, Any]) -> None:
    """Raise the SDK's error, with all keys, if a secret was not revealed."""
    hidden = [key for key, value in entries.items() if isinstance(value, lamina.Secret) and not value.is_revealed]
    if not hidden:
        return
    try:
        entries[hidden[0]].reveal()
    except lamina.LaminaError as error:
        others = hidden[1 : _NAMED_KEYS + 1]
        left = len(hidden) - 1 - len(others)
        if others:
            error.args = (f"{error}\nnot revealed either: {', '.join(others)}" + (f" and {left} more" if left else ""),)
        raise
