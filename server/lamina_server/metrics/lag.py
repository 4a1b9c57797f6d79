"""How late the event loop is: what blocks it delays every call."""

import asyncio

from lamina_server.metrics.recorder import Recorder

INTERVAL_SECONDS = 0.25


class LoopLag:
    """Measures the event loop on which it is started."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._set(asyncio.get_running_loop())

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + INTERVAL_SECONDS
        self._timer = loop.call_at(due, self._note, loop, due)

    def _note(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._recorder.lag(max(loop.time() - due, 0.0))
        self._set(loop)
