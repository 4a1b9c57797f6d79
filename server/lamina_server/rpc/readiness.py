"""Whether the server takes commits, as the health service says it under the name `readiness`.

A server that commits shows by this that it can. One that has not committed just now asks the
store each second. A change is told after PROOF_SECONDS + LOOK_SECONDS + ANSWER_SECONDS at the
latest. Liveness is another question: a server whose database is away still runs, and a restart
would mend nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from grpc_health.v1 import health, health_pb2

from lamina_server.domain.errors import OperatorError, ServerError
from lamina_server.store.background import in_background
from lamina_server.store.contract import Store, UnansweredError

NAME = "readiness"
LOOK_SECONDS = 1.0
"""Between two looks."""
ANSWER_SECONDS = 1.25
"""How long the store may take to answer. A frozen database says nothing at all."""
PROOF_SECONDS = 0.25
"""For how long a commit shows that others are possible. A busy server commits more often than this."""
LAST_ANSWER_SECONDS = 0.2
"""How long the end waits for an answer: a healthy database needs a few milliseconds."""

_log = structlog.get_logger(__name__)


class Readiness:
    """Asks the store, and tells the health service. Lives on the event loop.

    committed_at  returns when the last version was made, in seconds of time.monotonic()
    on_failure    called at each look when the store takes no more writes until it is opened again
    not_ready     why the server takes no commits; empty if it takes them
    """

    def __init__(
        self,
        store: Store,
        service: health.aio.HealthServicer,
        *,
        committed_at: Callable[[], float],
        on_failure: Callable[[], None],
    ) -> None:
        self._store = store
        self._on_failure = on_failure
        self._service = service
        self._committed_at = committed_at
        self._told: bool | None = None
        self.not_ready = ""
        self._question: asyncio.Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look. The store was opened just now, so it is ready."""
        await self._tell()
        self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    async def stop(self) -> None:
        """End the looks. A database that does not answer at once is left alone."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        if self._question is not None:
            await asyncio.wait({self._question}, timeout=LAST_ANSWER_SECONDS)
            self._question.cancel()

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._note(await self._look())
            except Exception as error:  # noqa: BLE001 - such as no thread left: it is told, and the looks go on
                await self._note(error)
            if self._store.failure:
                self._on_failure()

    async def _look(self) -> BaseException | None:
        """Return why no commit is possible; None if one is."""
        now = time.monotonic()
        if now - self._committed_at() < PROOF_SECONDS:
            return None
        # A question that was not answered is not asked again, so that no threads pile up.
        question = self._question = self._question or in_background(self._store.check_writable, name="readiness")
        await asyncio.wait({question}, timeout=ANSWER_SECONDS)
        if question.done():
            self._question = None
            return question.exception()
        return None if self._committed_at() > now else UnansweredError(f"no answer within {ANSWER_SECONDS:g} s")

    async def _note(self, error: BaseException | None) -> None:
        was, self.not_ready = self.not_ready, _reason(error)
        if was and not self.not_ready:
            _log.info("ready for commits again")
        elif self.not_ready and not was:
            _warn(error, self.not_ready)
        await self._tell()

    async def _tell(self) -> None:
        is_ready = not self.not_ready
        if is_ready != self._told:
            status = health_pb2.HealthCheckResponse.SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
            with suppress(TimeoutError):  # a watcher that takes no message holds the others up: told at the next look
                await asyncio.wait_for(self._service.set(NAME, status), ANSWER_SECONDS)
                self._told = is_ready


def _warn(error: BaseException | None, reason: str) -> None:
    """Log why the server is not ready: in the operator's words if there are any, else with all that is known."""
    cause = error.__cause__ if error else None
    if isinstance(cause, OperatorError):
        _log.warning("not ready for commits", reason=str(cause))
    else:
        _log.warning("not ready for commits", reason=reason, exc_info=error)


def _reason(error: BaseException | None) -> str:
    """Return the words for callers: an error that is not meant for them is for the log alone."""
    if error is None:
        return ""
    if isinstance(error, UnansweredError):
        return f"the database cannot be used: {error.why}"
    return str(error) if isinstance(error, ServerError) else "the database refuses for a reason that only the log has"
