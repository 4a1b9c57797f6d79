"""Defects in a class of settings itself, such as a validator that fails instead of giving a verdict."""

import traceback

from lamina._runtime.log import log
from lamina._runtime.tracebacks import end_here


def log_defect(settings: type, error: BaseException) -> None:
    """Log where the class failed, with file and line. The error's own text is left out: it may hold values."""
    end_here(error)
    frames = traceback.extract_tb(error.__traceback__)[1:]
    places = "".join(traceback.format_list(frames)).rstrip()
    log.error("%s has a defect, %s:\n%s", settings.__qualname__, type(error).__name__, places)
