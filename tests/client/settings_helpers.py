"""Settings made from a config without a server: the object, or the problems by key."""

from typing import Any

from lamina._settings.bound import form_of
from lamina._settings.shapes import Filling, ShapeError


def filled(settings: type, config: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of values that an object would be made from."""
    return Filling(form_of(settings).shape, "", "/").tree(config)


def fitted(settings: type, config: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """Make an object; if that fails, return None and the kinds of the problems, by key."""
    form, problems = form_of(settings), dict[str, str]()
    filling = Filling(form.shape, "", "/")
    try:
        return form.make(filling.tree(config)), {}
    except ShapeError as misfit:
        for path, kind in misfit.places:
            key = filling.key_of(path, config)
            problems[key] = f"{problems[key]}, {kind}" if key in problems else kind
    return None, problems
