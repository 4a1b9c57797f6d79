"""What a config comes to as settings, without a server: an object, or what is wrong by key."""

from typing import Any

from lamina._settings.bound import form_of
from lamina._settings.shapes import Filling, ShapeError


def filled(settings: type, config: dict[str, Any]) -> dict[str, Any]:
    """Give what an object would be made of."""
    return Filling(form_of(settings).shape, "", "/").tree(config)


def fitted(settings: type, config: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """Make an object; or None, and the kinds of what is wrong."""
    form, problems = form_of(settings), dict[str, str]()
    filling = Filling(form.shape, "", "/")
    try:
        return form.make(filling.tree(config)), {}
    except ShapeError as misfit:
        for path, kind in misfit.places:
            key = filling.key_of(path, config)
            problems[key] = f"{problems[key]}, {kind}" if key in problems else kind
    return None, problems
