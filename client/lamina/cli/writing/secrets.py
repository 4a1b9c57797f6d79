"""Secrets in files that are read: a mask keeps what is there, and a new content for a secret is a secret again."""

from collections.abc import Mapping
from typing import Any

import lamina
from lamina.cli.errors import REFUSED, Refusal
from lamina.cli.output.differences import differ
from lamina.cli.output.secrets import is_mask
from lamina.cli.output.text import MASK


def with_secrets(wanted: Mapping[str, Any], there: lamina.Snapshot, file: str) -> dict[str, Any]:
    """Return what a file sets over a map that has secrets. Raise Refusal for a mask of no secret."""
    return {key: _settled(key, value, there, file) for key, value in wanted.items()}


def _settled(key: str, value: Any, there: lamina.Snapshot, file: str) -> Any:
    held = there.get(key, lamina.MISSING)
    if not differ(held, value):
        return held  # also if it is the text of a mask
    if is_mask(value):
        if isinstance(held, lamina.Secret):
            return held
        text = f"{key} is {MASK}, which stands for the secret that is there, and {there.config} has none there"
        raise Refusal(f"{file}: {text}: nothing was written", REFUSED)
    if not isinstance(held, lamina.Secret) or isinstance(value, lamina.Secret):
        return value
    try:
        return lamina.Secret(value)
    except (TypeError, lamina.InvalidError) as error:
        raise Refusal(f"{file}: {key} is a secret, and stays one: {error}", REFUSED) from None
