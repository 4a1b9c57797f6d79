"""Refuse a text for a key that holds a value of another type, and any plain value for a secret."""

from collections.abc import Iterable

import click

import lamina
from lamina.cli.arguments.assignments import Assignment, escape_key

_KINDS = {type(None): "null", bool: "a boolean", int: "an integer", float: "a number", bytes: "bytes"}


def refuse_retyping(wanted: Iterable[Assignment], head: lamina.Snapshot) -> None:
    """Raise UsageError if a text would replace anything but text: most likely the colon of `:=` was forgotten.

    And if anything but a secret would replace a secret: most likely `--secret` was forgotten.
    """
    for assignment in wanted:
        if isinstance(assignment.value, lamina.Secret):
            continue
        if isinstance(head.get(assignment.key), lamina.Secret):
            raise click.UsageError(
                f"{assignment.key} holds a secret, and this would not be one: write --secret "
                f"{escape_key(assignment.key)}, or --retype if everybody who reads the config may see it"
            )
        if assignment.typed or isinstance(head.get(assignment.key, ""), str):
            continue
        held = head[assignment.key]
        kind = _KINDS.get(type(held), "a list" if isinstance(held, list) else "an object")
        raise click.UsageError(
            f"{assignment.key} holds {kind}, and this would make it text: write {assignment.advice}, "
            "or --retype if text is meant"
        )
