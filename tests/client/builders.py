"""Builders for the tests of the client: entries, versions, a script of replies."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from lamina._flows.effects import Call, Effect, Flow, Open, Receive, Sleep
from lamina._flows.session import Session
from lamina._mapping.entries import Entries
from lamina._mapping.values import dump, encode
from lamina._wire.messages import version_of
from lamina.errors import LaminaError
from lamina_protos.v1 import lamina_pb2 as pb

Result = TypeVar("Result")
BEGINNING = 1_700_000_000


def header(number: int, *, config: str = "app", author: str = "ann", **fields: Any) -> pb.ConfigVersion:
    """Make a version's header; the hash is made of config and number. The map has no keys but the given entries."""
    fields.setdefault("key_count", len(fields.get("entries", ())))
    message = pb.ConfigVersion(
        config=config,
        version=number,
        parent=max(number - 1, 0),
        hash=f"{config}{number:032}"[-32:].encode() if number else b"",
        author=author,
        message=f"message {number}",
        **fields,
    )
    message.commit_time.FromDatetime(datetime.fromtimestamp(BEGINNING + number, UTC))
    return message


def entry(key: str, value: Any, origin: int = 1) -> pb.Entry:
    return pb.Entry(key=key, value=dump(encode(value, key=key)), origin_version=origin)


def change(key: str, value: Any) -> pb.Change:
    return pb.Change(key=key, value=dump(encode(value, key=key)))


def deletion(key: str) -> pb.Change:
    return pb.Change(key=key, deleted=True)


def page(number: int, content: Mapping[str, Any], **fields: Any) -> pb.ConfigVersion:
    """Make a GetVersion reply."""
    return header(number, entries=[entry(key, content[key], number) for key in sorted(content)], **fields)


def entries(content: Mapping[str, Any], *, version: int = 1, origins: Mapping[str, int] | None = None) -> Entries:
    """Make a version's entries; the origin is that version unless `origins` has another."""
    origins = origins or {}
    messages = {key: entry(key, content[key], origins.get(key, version)) for key in sorted(content)}
    return Entries(version_of(header(version)), messages)


class Clock:
    """Time that passes only when a flow sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def session(
    *,
    timeout: float = 10.0,
    servers: int = 1,
    uniform: Callable[[float, float], float] = lambda _low, high: high,
) -> Session:
    """Make a session without randomness: every pause has its full length, and request ids count up."""
    ids = iter(range(1, 1000))
    return Session(timeout, clock=Clock(), uniform=uniform, new_request_id=lambda: f"id-{next(ids)}", servers=servers)


class Script:
    """Runs a flow against a list of answers, in order, and keeps the requests.

    An answer is a message, an error to raise, or a function that makes one of these from the request.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.slept: list[float] = []
        self.opened: list[pb.WatchKeyHistoryRequest] = []

    def run(self, flow: Flow[Result], session: Session | None = None) -> Result:
        try:
            effect = next(flow)
            while True:
                try:
                    result = self._perform(effect, session)
                except LaminaError as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            value: Result = stop.value
            return value

    def done(self) -> None:
        """Assert that the flow has taken every answer."""
        assert self.answers == []

    def _perform(self, effect: Effect, session: Session | None) -> Any:
        match effect:
            case Sleep(seconds):
                self.slept.append(seconds)
                if session is not None:
                    assert isinstance(session.clock, Clock)
                    session.clock.now += seconds
                return None
            case Call():
                self.asked.append((effect.rpc.name, _copy(effect.request)))
                return self._answer(effect.request)
            case Open(request):
                self.opened.append(_copy(request))
                return None
            case Receive():
                return self._answer(None)

    def _answer(self, request: Any) -> Any:
        assert self.answers, f"the script has no answer to {self.asked[-1:]}"
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def names(self) -> list[str]:
        return [name for name, _request in self.asked]


def _copy(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made
