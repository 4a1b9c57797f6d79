"""One recording client on the generated stubs: every call is in its history before it is sent. Knows no load.

It does not use the SDK, which repeats and merges by itself: each attempt must be recorded.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2, status_pb2

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc
from tests.faults.histories import Outcome, Recorder

CALL_SECONDS = 10.0
"""Longer than any restart takes, so that a call that waits for a server outlasts its restart."""
OPEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),  # each attempt must be recorded
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each client
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended."""

    outcome: Outcome
    reason: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """One commit, whatever the number of its attempts: see histories.Commit."""

    request: str
    changes: Mapping[str, str]
    base: int | None = None
    require: bool = False


class Client:
    """Calls the servers in turn, each until it fails, and records.

    known  the newest version in any answer to this client
    """

    def __init__(self, config: str, targets: Sequence[str], recorder: Recorder) -> None:
        self.config = config
        self.name = recorder.client
        self.known = 0
        self._recorder = recorder
        self._channels = [grpc.insecure_channel(target, options=CHANNEL_OPTIONS) for target in targets]
        self._stubs = itertools.cycle([lamina_pb2_grpc.ConfigServiceStub(channel) for channel in self._channels])
        self._stub = next(self._stubs)
        self._watching: Any = None
        self._cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channels, which ends the calls under way, and the file."""
        for channel in self._channels:
            channel.close()
        self._recorder.close()

    def commit(self, intent: Intent) -> Answer:
        """Make one attempt."""
        request = pb.CommitRequest(
            config=self.config,
            base_version=intent.base,
            changes=[pb.Change(key=k, value=pb.Value(string=v)) for k, v in intent.changes.items()],
            message=intent.request,
            request_id=intent.request,
            merge_policy=pb.REQUIRE_BASE if intent.require else pb.MERGE_DISJOINT,
        )
        call = self._recorder.commit(intent.request, intent.changes, base=intent.base, require=intent.require)

        def send() -> tuple[pb.ConfigVersion, str | None]:
            reply: pb.CommitResponse = self._stub.Commit(request, timeout=CALL_SECONDS, wait_for_ready=True)
            return reply.version, None

        return self._answer(call, send)

    def read(self, key: str) -> Answer:
        """Read one key at the head."""
        call = self._recorder.read(key)

        def send() -> tuple[pb.ConfigVersion, str | None]:
            request = pb.GetVersionRequest(config=self.config, keys=[key])
            version: pb.ConfigVersion = self._stub.GetVersion(request, timeout=CALL_SECONDS, wait_for_ready=True)
            return version, version.entries[0].value.string if version.entries else None

        return self._answer(call, send)

    def watch(self) -> Answer:
        """Record the versions of a watch after the last known version, until it ends."""
        call = self._recorder.watch(self.known)
        request = pb.WatchKeyHistoryRequest(config=self.config, after=pb.Cursor(version=self.known))
        self._watching = replies = self._stub.WatchKeyHistory(request, wait_for_ready=True)
        if self._cancelled:  # `cancel` sets it before it reads `_watching`, so one of the two threads cancels
            replies.cancel()
        try:
            for reply in replies:
                for part in reply.changes:
                    if not part.more:
                        self._recorder.seen(part.version.version, part.version.hash)
                        self.known = part.version.version
        except grpc.RpcError as error:
            return self._failed(call, error)
        raise RuntimeError("a watch ended without an error, and has no end of its own")

    def cancel(self) -> None:
        """End the watch, and any later one at once. Can be called from any thread."""
        self._cancelled = True
        if self._watching is not None:
            self._watching.cancel()

    def _answer(self, call: int, send: Callable[[], tuple[pb.ConfigVersion, str | None]]) -> Answer:
        try:
            version, value = send()
        except grpc.RpcError as error:
            return self._failed(call, error)
        self._recorder.ok(call, version.version, version.hash, value)
        self.known = max(self.known, version.version)
        return Answer(Outcome.OK, version=version.version)

    def _failed(self, call: int, error: grpc.RpcError) -> Answer:
        answer = answer_of(error)
        self._recorder.failed(call, answer.outcome, answer.reason)
        if answer.outcome is Outcome.INDETERMINATE:
            self._stub = next(self._stubs)
        return answer


def answer_of(error: grpc.RpcError) -> Answer:
    """Return the outcome of a call that ended with an error, and the reason: the server's, or else gRPC's code."""
    ended: Any = error
    code: grpc.StatusCode = ended.code()
    outcome = Outcome.INDETERMINATE if code in OPEN else Outcome.REFUSED
    return Answer(outcome, _reason(ended) or code.name)


def _reason(ended: Any) -> str | None:
    for key, value in ended.trailing_metadata() or ():  # grpc's items have names, grpc.aio's have none
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return None
