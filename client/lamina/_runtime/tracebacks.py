"""Tracebacks that end at the user's line: the inner frames of a failed verb do not help the user."""

from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]


def end_here(error: BaseException) -> None:
    """Drop this library's frames from a traceback, below the frame that catches the error and raises it again.

        except LaminaError as error:
            end_here(error)
            raise

    Other people's frames stay: a function that the user handed over may have raised the error.
    """
    last = error.__traceback__
    assert last is not None, "an error that was raised has a traceback"
    each = last.tb_next
    while each is not None:
        following = each.tb_next
        if each.tb_frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            last.tb_next = each
            last = each
        each = following
    last.tb_next = None
