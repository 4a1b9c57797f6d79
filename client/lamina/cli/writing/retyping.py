"""Refuse a text for a key that holds a value of another type."""

from collections.abc import Iterable

import click

import lamina
from lamina.cli.arguments.assignments import Assignment

_KINDS = {type(None): "null", bool: "a boolean", int: "an integer", float: "a number", bytes: "bytes"}


def refuse_retyping(wanted: Iterable[Assignment], head: lamina.Snapshot) -> None:
    """Raise UsageError if a text would replace anything but text: most likely the colon of `:=` was forgotten."""
    for assignment in wanted:
        if assignment.typed or isinstance(head.get(assignment.key, ""), str):
            continue
        held = head[assignment.key]
        kind = _KINDS.get(type(held), "a list" if isinstance(held, list) else "an object")
        raise click.UsageError(
            f"{assignment.key} holds {kind}, and this would make it text: write {assignment.advice}, "
            "or --retype if text is meant"
        )
