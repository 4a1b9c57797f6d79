"""The file with settings: TOML, with each setting under its own name."""

import os
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from lamina_server.settings import PREFIX, Settings

NAME = "settings_file"
"""What it is called itself, as an option and as a variable. It is no setting: no file can name another."""

_LIMIT_BYTES = 1024 * 1024


class SettingsFileError(Exception):
    """The file cannot be used. Its text may be printed: it repeats no value of the file."""


def read(given: str | None) -> dict[str, Any]:
    """Return what the file has, and remember the file for `place_of`. Empty if neither option nor variable names one.

    Raises SettingsFileError.
    """
    path = given if given is not None else os.environ.get(f"{PREFIX}{NAME.upper()}")
    if path is None:
        return {}
    if not path:
        raise SettingsFileError("the path of the settings file is empty")
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
        if len(content) > _LIMIT_BYTES:
            raise SettingsFileError(f"{path}: the file is larger than {_LIMIT_BYTES} bytes; it is no settings file")
        found = tomllib.loads(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsFileError(_words(path, error)) from None
    click.get_current_context().meta[NAME] = (path, found)
    return found


def unknown_names() -> Iterator[str]:
    """Yield what is wrong with each name in this command's file that is no setting."""
    path, found = _remembered()
    for name in found:
        if name not in Settings.model_fields:
            close = get_close_matches(name, Settings.model_fields, 1)
            told = f": is it {close[0]}?" if close else "; `lamina-server config` lists the names"
            yield f"{path} has {name!r}, which means nothing{told}"


def place_of(name: str) -> str:
    """Return the place in the file that a setting of this command comes from; empty if it has none there."""
    path, found = _remembered()
    return f"{path}: {name}" if name in found else ""


def _remembered() -> tuple[str, dict[str, Any]]:
    remembered: tuple[str, dict[str, Any]] = click.get_current_context().meta.get(NAME, ("", {}))
    return remembered


def _words(path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read {path}: {error.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return f"{path}: the file is not UTF-8"
    return f"{path}: the file is not TOML: {error}"
