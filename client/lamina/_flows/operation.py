"""One call of a verb: its deadline, and which failures are tried again."""

from typing import Any, Final

from lamina._flows.effects import Call, Flow, Reply, Request, Sleep
from lamina._flows.session import Session
from lamina._runtime.log import log
from lamina._wire.rpcs import Rpc
from lamina.errors import CursorError, DeadlineError, LaminaError, UnavailableError

RETRY_FIRST_SECONDS: Final = 0.05
"""The first pause is drawn from 0 to this: a server that restarts is back before a longer one would end."""


RETRY_CEILING_SECONDS: Final = 1.0
"""No pause is longer: a verb has 10 s by default, and should use them."""


FIRST_SERVER_SECONDS: Final = 2.0
"""Of several servers, one that does not answer for so long is left for the next: it may be frozen, and say nothing."""


LAST_TRY_SECONDS: Final = 0.01
"""With less time left than this, another try is pointless."""


BUG_TRIES: Final = 3
"""A defect of the server may pass, but is not worth a verb's whole time."""


class Operation:
    """One verb under way: all its calls and their retries share the client's `timeout`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ends = session.clock() + session.timeout_seconds

    def ask(self, rpc: Rpc[Request, Reply], request: Request) -> Flow[Reply]:
        """Call until there is a definite answer, pausing longer and longer, each pause drawn from 0 to its ceiling.

        The very same request is sent each time, request id included, so a write happens once however often it is sent.
        Until each server was tried once there is no pause.
        """
        tries = silences = 0
        while True:
            try:
                reply: Reply = yield Call(rpc, request, self._share(silences))
            except UnavailableError as error:
                tries += 1
                silences += isinstance(error, DeadlineError)
                if error.reason == "BUG" and tries >= BUG_TRIES:
                    raise _marked(error, request) from None
                left = self._left()
                if left < LAST_TRY_SECONDS:
                    raise _marked(self._deadline(error), request) from None
                if tries == 1:
                    log.info("%s; trying again for %.0f s", error, left)
            except LaminaError as error:
                raise _marked(error, request) from None
            else:
                return reply
            rounds = tries - self.session.servers
            if rounds >= 0:
                ceiling = min(RETRY_CEILING_SECONDS, RETRY_FIRST_SECONDS * 2 ** min(rounds, 16))
                yield Sleep(min(self.session.uniform(0, ceiling), left / 2))

    def _share(self, silences: int) -> float:
        """Return how many seconds a try may take, so that one silent server leaves time for the others.

        With one server, all the time there is. With two and 10 s: at most 2 s for the first, then 4 s for the second,
        which may just be slow, and half of what is left for each further one. Only tries that ran out of their time
        count: beside a server that is down, one that is slow has its 4 s, too.
        """
        left, servers = max(self._left(), 0.0), self.session.servers
        if servers == 1:
            return left
        return left / 2 if silences % servers == servers - 1 else min(left / 2, FIRST_SERVER_SECONDS)

    def _left(self) -> float:
        return self._ends - self.session.clock()

    def _deadline(self, last: UnavailableError) -> DeadlineError:
        text = f"no answer within {self.session.timeout_seconds:g} s; the last try ended with: {last}"
        return DeadlineError(text, reason=last.reason)


def _marked(error: LaminaError, request: Any) -> LaminaError:
    """Complete an error with what the request knows: its id, and where the caller stood."""
    error.request_id = error.request_id or getattr(request, "request_id", None) or None
    if isinstance(error, CursorError) and error.cursor is None:
        number = getattr(request, "base_version", 0) or getattr(request, "min_version", 0)
        known = getattr(request, "base_hash", b"").hex()
        error.cursor = f"{number}.{known}" if known else str(number)
    return error
