"""Whether the server takes commits, as the health service says it under the name `readiness`.

A server that has just committed is ready. Any other asks the store once a second whether it
takes commits. The health service says so after PROOF_SECONDS + LOOK_SECONDS + ANSWER_SECONDS at
the latest. Liveness is another question: a server whose database is away still runs, and a
restart would mend nothing.

A database that is shared may also be silent: it has answered neither the question nor anything
else for SILENT_SECONDS. Then the calls that need it are refused (see store/silence.py). The
question's session may be the only one that is frozen. So while it waits, new sessions are asked,
one at a time, and each answer prevents or ends a silence.

A server whose audit cannot be written takes no commits either. Whether the audit is written to its
file, the health service says under the name `audit`.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from lamina_server.audit.audit import Audit
from lamina_server.domain.errors import OperatorError, ServerError
from lamina_server.rpc.health import Health
from lamina_server.store.background import in_background
from lamina_server.store.contract import Notices, Store, UnansweredError
from lamina_server.store.silence import Silence

NAME = "readiness"
AUDIT_NAME = "audit"
LOOK_SECONDS = 1.0
"""Between an answer of the store and the next question."""
ANSWER_SECONDS = 1.25
"""How long the store may take to answer. A frozen database says nothing at all."""
SILENT_SECONDS = 2.0
"""Long enough that no slow statement and no wait for a lock looks like silence."""
PROOF_SECONDS = 0.25
"""For how long a commit shows that others are possible. A busy server commits more often than this."""
LAST_ANSWER_SECONDS = 0.2
"""How long the end waits for an answer: a healthy database needs a few milliseconds."""

_log = structlog.get_logger(__name__)


class Readiness:
    """Asks the store, and sets the status of the health service. Lives on the event loop.

    committed_at  returns when the last version was made, in seconds of time.monotonic()
    on_failure    called after each look when the store takes no more writes until it is opened again
    """

    def __init__(
        self,
        store: Store,
        service: Health,
        silence: Silence,
        audit: Audit,
        *,
        committed_at: Callable[[], float],
        on_failure: Callable[[], None],
    ) -> None:
        self._store = store
        self._service = service
        self._silence = silence
        self._audit = audit
        self._notices = store.notices() if store.is_shared else None
        self._committed_at = committed_at
        self._on_failure = on_failure
        self._reason = ""
        self._published: dict[str, bool] = {}
        self._question: asyncio.Future[None] | None = None
        self._asked_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._asking_anew: asyncio.Task[None] | None = None

    @property
    def not_ready(self) -> str:
        """Return why the server takes no commits, in words for callers; empty if it takes them."""
        return self._silence.words if self._silence.is_on else self._reason

    async def start(self) -> None:
        """Begin to look. The store was opened just now, so it is ready."""
        self._publish()
        self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    async def stop(self) -> None:
        """End the looks. A database that does not answer at once is left alone."""
        for task in (self._looking, self._asking_anew):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if self._question is not None:
            await asyncio.wait({self._question}, timeout=LAST_ANSWER_SECONDS)
            self._question.cancel()

    # --- the looks --------------------------------------------------------------------------

    async def _look_again_and_again(self) -> None:
        while True:
            if self._question is None:
                await asyncio.sleep(LOOK_SECONDS)
            try:
                refusal = self._audit.look()
                self._note(await self._look() or refusal)
            except Exception as error:  # noqa: BLE001 - such as no thread left: it is noted, and the looks go on
                self._note(error)
            if self._store.failure:
                self._on_failure()

    async def _look(self) -> BaseException | None:
        """Return why no commit is possible; None if one is."""
        now = time.monotonic()
        if self._question is None:
            if now - self._committed_at() < PROOF_SECONDS:
                self._silence.end()
                return None
            self._asked_at = now
            self._question = in_background(self._store.check_writable, name=NAME)
        # A question without an answer stays the only one, so that no threads pile up.
        await asyncio.wait({self._question}, timeout=ANSWER_SECONDS)
        if self._question.done():
            return self._answer()
        self._note_silence()
        return None if self._committed_at() > now else UnansweredError(f"no answer within {ANSWER_SECONDS:g} s")

    def _answer(self) -> BaseException | None:
        """Return the error that has answered the question, and forget the question.

        An error that comes late may be the driver's, which has given up. It does not end a silence.
        """
        assert self._question is not None
        error, self._question = self._question.exception(), None
        if error is None or time.monotonic() - self._asked_at < ANSWER_SECONDS:
            self._silence.end()
        return error

    def _note_silence(self) -> None:
        """Begin a silence if nothing has answered for long, and see to it that a new session is asked."""
        if self._notices is None:  # the question may wait for the server's own commits
            return
        since = max(self._asked_at, self._silence.answered_at, self._committed_at())
        if time.monotonic() - since > SILENT_SECONDS:
            self._silence.begin(since)
        if self._asking_anew is None or self._asking_anew.done():
            self._asking_anew = asyncio.get_running_loop().create_task(self._ask_anew(self._notices))

    async def _ask_anew(self, notices: Notices) -> None:
        """Ask a new session. An error is no answer: it may come from this machine, such as when a queue is full."""
        with suppress(Exception):  # the question's own answer says what is wrong
            await notices.ping()
            self._silence.answered()
            self._silence.end()

    # --- what comes of them -----------------------------------------------------------------

    def _note(self, error: BaseException | None) -> None:
        was_ready, self._reason = not self._reason, _words(error)
        if not self._reason and not was_ready:
            _log.info("ready for commits again")
        elif self._reason and was_ready:
            _warn(error, self._reason)
        self._publish()

    def _publish(self) -> None:
        """Set the statuses of the health service that have changed."""
        statuses = {NAME: not self._reason} | ({AUDIT_NAME: self._audit.is_sound} if self._audit.is_on else {})
        for name, is_ready in statuses.items():
            if self._published.get(name) is not is_ready:
                self._service.set(name, is_ready=is_ready)
        self._published = statuses


def _warn(error: BaseException | None, words: str) -> None:
    """Log why the server is not ready: in the operator's words if there are any, else with all that is known."""
    cause = error.__cause__ if error else None
    if isinstance(cause, OperatorError):
        _log.warning("not ready for commits", reason=str(cause))
    else:
        _log.warning("not ready for commits", reason=words, exc_info=error)


def _words(error: BaseException | None) -> str:
    """Return what callers are told of an error. One that is not meant for them is only logged."""
    if error is None:
        return ""
    if isinstance(error, UnansweredError):
        return f"the database cannot be used: {error.why}"
    return str(error) if isinstance(error, ServerError) else "the database refuses for a reason that only the log has"
