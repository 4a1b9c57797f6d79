"""One call of a verb: its deadline, and which failures are tried again."""

import math
from typing import Any, Final

from lamina._flows.effects import Call, Flow, Reply, Request, Sleep
from lamina._flows.session import Session
from lamina._runtime.log import log
from lamina._wire.causes import PROXY
from lamina._wire.rpcs import Rpc
from lamina.errors import CursorError, DeadlineError, LaminaError, LimitError, UnavailableError

RETRY_FIRST_SECONDS: Final = 0.05
"""The first pause is drawn from 0 to this: a server that restarts may be back before a longer pause ends."""

RETRY_CEILING_SECONDS: Final = 1.0
"""No pause is longer: a verb has 10 s by default, and should use them for tries."""

FIRST_SERVER_SECONDS: Final = 2.0
"""If there are several servers, the next one is tried after this time: a frozen server never answers."""

LAST_TRY_SECONDS: Final = 0.01
"""With less time left than this, another try is pointless."""

LASTING_TRIES: Final = 3
"""An error of the server or of its database may be temporary, but is not worth a verb's whole time."""

_LASTING: Final = frozenset({"BUG", "STORE_UNUSABLE", PROXY})
"""Reasons that another try seldom changes."""

_UNKNOWING: Final = frozenset({PROXY, "NO_CREDENTIALS", "BAD_CREDENTIALS", "NOT_ALLOWED"})
"""Reasons of refusals that are decided before anybody looks for what an earlier try has written."""

TELLING_SECONDS: Final = 1.0
"""A try that was shorter than this and had no answer does not replace the reason that an earlier try found."""

CERTAIN_SECONDS: Final = 0.25
"""As long as no try of a write may have written, none begins later than this before the end, and is cut off by it."""

NOTHING: Final = "; nothing was written"
"""What a server says of one try. The error says it only if it is true of all tries."""

OPEN: Final = "; it may have been written: the same again finds out, and writes nothing twice"
"""What the error of a write says if its outcome is not known."""

SECOND_TRY_SECONDS: Final = 0.15
"""An impatient verb's only pause. It is longer than gRPC's pause before it connects again, so both tries are real."""


class Operation:
    """One running verb: all its calls and their retries share the client's `timeout`.

    An impatient verb has a fallback. It gives up when each server has refused two tries at once;
    for a server that is silent it waits like any other.
    """

    def __init__(self, session: Session, *, is_impatient: bool = False) -> None:
        self.session = session
        self._is_impatient = is_impatient
        self._ends = session.clock() + session.timeout_seconds

    def ask(self, rpc: Rpc[Request, Reply], request: Request, *, resumed: bool = False) -> Flow[Reply]:
        """Call until there is a definite answer, pausing longer and longer, each pause drawn from 0 to its ceiling.

        The same request is sent each time, with the same request id, so a write happens once even if it is sent often.
        There is no pause until each server was tried once. `resumed` says of a write that an earlier call may have
        written it.
        """
        is_write = bool(getattr(request, "request_id", ""))
        failures = _Failures(self.session.servers, is_write=is_write, may_have_written=resumed)
        while True:
            share = self._share(failures.silences)
            try:
                reply: Reply = yield Call(rpc, request, share)
            except UnavailableError as error:
                failures.add(error, share)
                if failures.are_lasting or (self._is_impatient and failures.are_refusals):
                    error.args = (failures.outcome(str(error)),)
                    error.wrote_nothing = failures.wrote_nothing
                    raise _marked(error, request) from None
                left = self._left()
                if left < (self._certain_seconds() if failures.wrote_nothing else LAST_TRY_SECONDS):
                    raise _marked(self._deadline(failures), request) from None
                if failures.tries == 1:
                    log.info("%s; trying again for %.0f s", error, left)
            except LaminaError as error:
                if not (yield from self._wait_as_asked(error)):
                    raise _marked(failures.definite(error), request) from error.__cause__  # of `token=`'s function
                continue
            else:
                return reply
            if (rounds := failures.tries - self.session.servers) >= 0:
                yield Sleep(min(self._pause(rounds), left / 2))

    def _wait_as_asked(self, error: LaminaError) -> Flow[bool]:
        """Wait as long as the server asks for; return whether it asks for that, and time is left for another try."""
        left = self._left() - LAST_TRY_SECONDS
        asked = retry_pause(self.session, error, left)
        if asked is None:
            return False
        log.info("%s; trying again in %.1f s", error, asked)
        yield Sleep(asked)
        return True

    def _pause(self, rounds: int) -> float:
        if self._is_impatient and not rounds:
            return SECOND_TRY_SECONDS
        return self.session.uniform(0, min(RETRY_CEILING_SECONDS, RETRY_FIRST_SECONDS * 2 ** min(rounds, 16)))

    def _share(self, silences: int) -> float:
        """Return how many seconds a try may take, so that one silent server leaves time for the others.

        With one server, a try has all the remaining time. With two and 10 s: at most 2 s for the first, then 4 s for
        the second, which may just be slow, and half of the remaining time for each further try. Only tries that ran out
        of their time count: if one server is down, a slow one still has its 4 s.
        """
        left, servers = max(self._left(), 0.0), self.session.servers
        if servers == 1:
            return left
        return left / 2 if silences % servers == servers - 1 else min(left / 2, FIRST_SERVER_SECONDS)

    def _certain_seconds(self) -> float:
        return min(CERTAIN_SECONDS, self.session.timeout_seconds / 10)

    def _left(self) -> float:
        return self._ends - self.session.clock()

    def _deadline(self, failures: "_Failures") -> DeadlineError:
        text = failures.outcome(f"no answer within {self.session.timeout_seconds:g} s: {failures}")
        return DeadlineError(text, reason=failures.reason, wrote_nothing=failures.wrote_nothing)


class _Failures:
    """The failed tries of a call: their number, how many of them met silence, and the reasons.

    reason  the reason code of the last failure that is told
    """

    def __init__(self, servers: int, *, is_write: bool, may_have_written: bool) -> None:
        self.tries = 0
        self.silences = 0
        self.reason: str | None = None
        self._is_write = is_write
        self._may_have_written = may_have_written
        self._servers = servers
        self._heard: dict[int, UnavailableError] = {}
        self._said: dict[int, UnavailableError] = {}
        self._last: str | None = None

    def add(self, error: UnavailableError, seconds: float) -> None:
        """Record the failure of a try, and how many seconds it had."""
        is_silence = isinstance(error, DeadlineError)
        turn = self.tries % self._servers
        if seconds >= TELLING_SECONDS or not is_silence or turn not in self._heard:
            self._heard[turn] = error
            self.reason = error.reason
        if error.reason is not None:
            self._said[turn] = error
        self.tries += 1
        self.silences += is_silence
        self._may_have_written |= not error.wrote_nothing
        self._last = error.reason

    @property
    def are_lasting(self) -> bool:
        """Whether another try would fail in the same way."""
        return self._last in _LASTING and self.tries >= LASTING_TRIES

    @property
    def are_refusals(self) -> bool:
        """Whether each server has refused two tries at once, without a reason."""
        return not self.silences and self._last is None and self.tries >= 2 * self._servers

    def definite(self, error: LaminaError) -> LaminaError:
        """Complete a definite error of the last try, which may not know whether an earlier one has written."""
        if self.tries and self._is_write and self._may_have_written and is_unknowing(error):
            error.reason = None
        return error

    @property
    def wrote_nothing(self) -> bool:
        """Whether these are tries of a write, and none of them may have written."""
        return self._is_write and not self._may_have_written

    def outcome(self, text: str) -> str:
        """Complete the text of the error that ends the tries: it says what a write may have done, and what to do."""
        if self.wrote_nothing:
            return text
        return text.replace(NOTHING, "") + (OPEN if self._is_write else "")

    def __str__(self) -> str:
        """Return the last reason of each server; if that is silence, also the last one that it gave itself."""
        return "; ".join(dict.fromkeys(map(self._text, self._heard)))

    def _text(self, turn: int) -> str:
        heard, said = self._heard[turn], self._said.get(turn)
        return str(heard) if said is None or not isinstance(heard, DeadlineError) else f"{heard}; before that: {said}"


def is_unknowing(error: LaminaError) -> bool:
    """Return whether an error says of its own try alone that it wrote nothing, and not of an earlier one."""
    return error.reason in _UNKNOWING or (isinstance(error, LimitError) and error.retry_seconds is not None)


def retry_pause(session: Session, error: LaminaError, most: float = math.inf) -> float | None:
    """Return how long to wait if a server has said when to call again; None if it has not, or if that is too long.

    It is up to half as long again, so that not all who were refused come back at once.
    """
    if not isinstance(error, LimitError) or error.retry_seconds is None or error.retry_seconds >= most:
        return None
    return min(error.retry_seconds + session.uniform(0, error.retry_seconds / 2), most)


def _marked(error: LaminaError, request: Any) -> LaminaError:
    """Complete an error with what the request knows: its id, and where the caller stood."""
    error.request_id = error.request_id or getattr(request, "request_id", None) or None
    if isinstance(error, CursorError) and error.cursor is None:
        number = getattr(request, "base_version", 0) or getattr(request, "min_version", 0)
        known = getattr(request, "base_hash", b"").hex()
        error.cursor = f"{number}.{known}" if known else str(number)
    return error
