"""The terminal of a server, whose end ends the server."""

import os
import signal


class Terminal:
    """The controlling terminal that this process has now. Under nohup it does not matter."""

    def __init__(self) -> None:
        self._matters = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_one()

    @property
    def has_gone(self) -> bool:
        """Return whether the terminal has been closed since."""
        return self._matters and not _has_one()


def _has_one() -> bool:
    """Return whether the process has a controlling terminal: one that goes away takes itself from its processes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
