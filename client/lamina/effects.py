"""What a flow may ask of a shell, and what all flows of one client share; it names no gRPC and does no I/O.

A flow is a generator: it yields an effect, is sent the result or thrown the error, and returns what the verb returns.
Whatever is raised meanwhile is thrown in, Ctrl-C and a task's cancellation too; a flow stops for LaminaErrors alone.
Two shells run flows, sync.py and aio.py; tests run them against a script.

    reply = yield from verb.ask(GET_VERSION, request)      one call, tried again until the verb's time is over
"""

import logging
import random
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from lamina.errors import CursorError, DeadlineError, LaminaError, UnavailableError
from lamina.forking import ForkedLock
from lamina.records import Version
from lamina.rpcs import Rpc
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")
Request = TypeVar("Request")
Reply = TypeVar("Reply")

log = logging.getLogger("lamina")
"""Where it is told what a caller may not see: what goes wrong in the background, and what is being tried again."""

RETRY_FIRST_SECONDS: Final = 0.05
"""The first pause is drawn from 0 to this: a server that restarts is back before a longer one would end."""
RETRY_CEILING_SECONDS: Final = 1.0
"""No pause is longer: a verb has 10 s by default, and should use them."""
FIRST_SERVER_SECONDS: Final = 2.0
"""Of several servers, one that does not answer for so long is left for the next: it may be frozen, and say nothing."""
LAST_TRY_SECONDS: Final = 0.01
"""With less time than this left there is no point in another try."""
BUG_TRIES: Final = 3
"""A defect of the server's may be a passing one, but is not worth a verb's whole time."""


@dataclass(frozen=True, slots=True)
class Call:
    """Make one unary call, within so many seconds, and give its reply."""

    rpc: Rpc[Any, Any]
    request: Any
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let so many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Open a watch's stream in place of the one before."""

    request: pb.WatchKeyHistoryRequest


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the open stream's next message and give it; its end, too, is an UnavailableError."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call a function of the user's; for asyncio it may be a coroutine function. What it raises is thrown in."""

    function: Callable[[Any], Any]
    argument: Any


Effect: TypeAlias = Call | Sleep | Open | Receive | Invoke
Flow: TypeAlias = Generator[Effect, Any, Result]


class Horizon:
    """The newest version of each config that this client has seen anywhere. Shared by threads.

    Head reads demand at least that version, so that one client never goes back, whatever server it asks.
    """

    def __init__(self) -> None:
        self._lock = ForkedLock()
        self._seen: dict[str, tuple[int, str]] = {}

    def least(self, config: str) -> int:
        """Give the version that a head read of the config must at least show."""
        return self._seen.get(config, (0, ""))[0]

    def saw(self, version: Version) -> None:
        """Remember a version; raise CursorError if it is another one than this client saw under that number."""
        with self._lock:
            number, known = self._seen.get(version.config, (0, ""))
            if version.number > number:
                self._seen[version.config] = version.number, version.hash
        if version.number == number and version.hash != known:
            raise forked(version.config, number, known, version.number)


def forked(config: str, number: int, known: str, head: int) -> CursorError:
    """Make the error for a server whose version of a number is not the one that this client has seen."""
    text = f"version {number} of {config} is another one than this client has seen: was a backup restored?"
    return CursorError(text, reason="CURSOR_FORKED", cursor=f"{number}.{known}", head=head)


@dataclass(frozen=True, slots=True)
class Session:
    """What all verbs of one client share. The clock and the dice stand here so that tests may bring their own.

    `servers` is how many addresses there are: a failed try leads to the next one.
    """

    timeout_seconds: float
    horizon: Horizon = field(default_factory=Horizon)
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[float, float], float] = random.uniform
    new_request_id: Callable[[], str] = lambda: uuid.uuid4().hex
    servers: int = 1


class Verb:
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
                    raise _marked(self._deadline(error), request) from error
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
        """Say how long a try may take, so that one server that says nothing leaves time for the others.

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
