"""Secrets in what the command line writes: masked, or with their contents. It knows no verb and no format."""

from collections.abc import Mapping
from typing import Any, Final

import lamina
from lamina.cli.output.text import MASK

_JSON_MASK: Final = {"secret": True}
_NAMED_KEYS: Final = 8


def masked(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries for a file, in which a mask is the content of each secret."""
    mask = lamina.Secret(MASK)
    return {key: mask if isinstance(value, lamina.Secret) else value for key, value in entries.items()}


def is_mask(value: object) -> bool:
    """Return whether a value out of a file is the mask, or what `-o json` writes for a secret."""
    return opened(value) in (MASK, _JSON_MASK)


def number_of_secrets(entries: Mapping[str, Any]) -> int:
    """Return how many of the values are secrets."""
    return sum(isinstance(value, lamina.Secret) for value in entries.values())


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
