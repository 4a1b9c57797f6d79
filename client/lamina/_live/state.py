"""How a live stands to the server."""

from enum import StrEnum

from lamina._runtime.public import public


@public("lamina")
class LiveState(StrEnum):
    """How new what a live shows is. Equal to their names as text."""

    LIVE = "LIVE"
    """Its stream is open and has caught up: a change arrives within a moment."""
    STALE = "STALE"
    """The link is lost, closed, ended by an error, or catching up: what it shows was the head `age` seconds ago."""
    OFFLINE = "OFFLINE"
    """What it shows is of a last-known-good file, or the default: no server has been reached since it was opened."""
