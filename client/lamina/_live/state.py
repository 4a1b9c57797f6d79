"""The state of a live."""

from enum import StrEnum

from lamina._runtime.public import public


@public("lamina")
class LiveState(StrEnum):
    """How current a live's version is. Each state equals its name as text."""

    LIVE = "LIVE"
    """Its stream is open and has caught up: a change arrives within a moment."""
    STALE = "STALE"
    """The stream is lost, closed, ended by an error, or catching up: the version was the head `age` seconds ago."""
    OFFLINE = "OFFLINE"
    """The version is from a last-known-good file or the default: the live has not reached a server yet."""
