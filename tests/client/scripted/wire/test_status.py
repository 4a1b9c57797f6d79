"""The tree of errors, and how the status of a call becomes one."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

import lamina
from lamina import errors
from lamina._mapping.secret import Source
from lamina._mapping.values import dump, encode
from lamina._wire.messages import conflict_of
from lamina._wire.status import ReportedConflictError, error_of
from lamina_protos.v1 import lamina_pb2 as pb

PROTO = Path(pb.__file__).with_name("lamina.proto")


def details(*messages: Any) -> list[tuple[str, bytes]]:
    packed = []
    for message in messages:
        one = AnyMessage()
        one.Pack(message)
        packed.append(one)
    return [("content-type", b"x"), ("grpc-status-details-bin", Status(details=packed).SerializeToString())]


def info(reason: str, domain: str = "lamina", **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def reasons() -> Iterator[tuple[str, str]]:
    """Read the table of codes and reasons out of the wire contract itself."""
    table = PROTO.read_text().split("// Reasons, by status code:")[1].split("// TOO_LARGE, TOO_MANY")[0]
    code = ""
    for line in table.splitlines():
        words = re.findall(r"\b[A-Z][A-Z_]{2,}\b", line)
        if re.match(r"//   [A-Z]", line):
            code = words.pop(0)
        for reason in words:
            yield code, reason


def test_every_reason_of_the_wire_has_an_error() -> None:
    assert {reason for _code, reason in reasons()} == set(errors.REASONS)


@pytest.mark.parametrize(("code", "reason"), list(reasons()))
def test_the_reason_decides_the_error(code: str, reason: str) -> None:
    error = error_of(code, "what happened", details(info(reason)))
    assert isinstance(error, errors.REASONS[reason])
    assert error.reason == reason
    assert str(error) == "what happened"
    # Without details, the code leads to the same error, except for these six reasons.
    others = {"CONFLICT", "CURSOR_FORKED", "VERSION_COMPACTED"}
    if reason not in others | {"STORE_UNUSABLE", "SECRETS_UNAVAILABLE", "NOT_IMPLEMENTED"}:
        bare = error_of(code, "x", [])
        assert type(bare) is errors.REASONS[reason]
        assert bare.reason is None


@pytest.mark.parametrize(("metadata", "oldest"), [({"oldest_version": "7"}, 7), ({}, 0), ({"oldest_version": "x"}, 0)])
def test_a_compacted_version_s_error_names_the_oldest_one(metadata: dict[str, str], oldest: int) -> None:
    error = error_of("OUT_OF_RANGE", "gone", details(info("VERSION_COMPACTED", **metadata)))
    assert isinstance(error, lamina.VersionCompactedError)
    assert error.oldest_version == oldest


def test_the_server_says_if_a_write_did_not_happen() -> None:
    for metadata, wrote_nothing in (({"nothing_written": "true"}, True), ({}, False)):
        error = error_of("UNAVAILABLE", "away", details(info("STORE_UNAVAILABLE", **metadata)))
        assert isinstance(error, lamina.UnavailableError)
        assert error.wrote_nothing is wrote_nothing


def test_errors_are_also_standard_exceptions() -> None:
    assert issubclass(lamina.InvalidError, ValueError)
    assert issubclass(lamina.NotFoundError, LookupError)
    assert issubclass(lamina.UnavailableError, ConnectionError)
    assert issubclass(lamina.DeadlineError, lamina.UnavailableError)
    assert issubclass(lamina.DeadlineError, TimeoutError)
    assert issubclass(lamina.PermissionDeniedError, PermissionError)
    for kind in {*errors.REASONS.values(), *errors.CODES.values()}:
        assert issubclass(kind, lamina.LaminaError)


def test_the_docstring_shows_the_tree_as_it_is() -> None:
    drawn = re.findall(
        r"(\w+Error)(?: \((\w+)\))?", errors.__doc__.split("Everything but")[0] if errors.__doc__ else ""
    )
    found = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, lamina.LaminaError):
            foreign = [base.__name__ for base in kind.__bases__ if not issubclass(base, lamina.LaminaError)]
            found[kind.__name__] = foreign[0] if foreign and foreign[0] != "Exception" else ""
    assert dict(drawn) == found
    for reason, kind in errors.REASONS.items():
        if kind is not lamina.LaminaError:
            line = next(line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__}" in line)
            assert reason in line


def test_limits_and_cursors_carry_their_numbers() -> None:
    error = error_of("RESOURCE_EXHAUSTED", "big", details(info("TOO_LARGE", limit="1048576", actual="1048577")))
    assert isinstance(error, lamina.LimitError)
    assert (error.limit, error.actual) == (1048576, 1048577)
    error = error_of("OUT_OF_RANGE", "ahead", details(info("CURSOR_AHEAD", head_version="3")))
    assert isinstance(error, lamina.CursorError)
    assert error.head == 3
    error = error_of("RESOURCE_EXHAUSTED", "full", details(info("DISK_FULL", limit="much")))
    assert isinstance(error, lamina.LimitError)
    assert (error.limit, error.actual) == (None, None)


def test_the_size_that_grpc_refuses_is_in_the_error() -> None:
    text = "CLIENT: Received message larger than max (6291480 vs. 5242880)"
    error = error_of("RESOURCE_EXHAUSTED", text, ())
    assert isinstance(error, lamina.LimitError)
    assert (error.limit, error.actual, error.reason) == (5242880, 6291480, None)
    assert "6,291,480 bytes" in str(error)


def test_a_conflict_carries_both_sides() -> None:
    one, two = dump(encode(1, key="k")), dump(encode([2], key="k"))
    detail = pb.Conflict(
        head_version=7,
        conflict_count=1,
        conflicts=[pb.KeyConflict(key="x", base=one, yours=two, their_version=6, their_author="bob")],
    )
    error = error_of("ABORTED", "conflict", details(info("CONFLICT"), detail))
    assert isinstance(error, ReportedConflictError)
    assert error.head == 7
    assert error.detail == detail
    wanted = lamina.Conflict("x", 1, lamina.MISSING, [2], 6, "bob")
    assert conflict_of(error.detail.conflicts[0], Source("app")) == wanted


def test_an_unknown_reason_falls_back_to_the_code() -> None:
    error = error_of("NOT_FOUND", "gone", details(info("BRANCH_NOT_FOUND")))
    assert type(error) is lamina.NotFoundError
    assert error.reason == "BRANCH_NOT_FOUND"
    assert type(error_of("SOMETHING_NEW", "x", details(info("NEW")))) is lamina.LaminaError


def test_an_error_that_is_not_from_the_server_has_no_reason() -> None:
    error = error_of("UNAVAILABLE", "connection refused", details(info("PROXY_SAD", domain="proxy.example")))
    assert type(error) is lamina.UnavailableError
    assert error.reason is None
    assert str(error) == "no server answers at the target (connection refused)"
    assert "no Lamina server" in str(error_of("UNIMPLEMENTED", "", []))
    assert str(error_of("CANCELLED", "", [])) == "cancelled"
    assert type(error_of("UNKNOWN", "x", [("grpc-status-details-bin", b"\xff\xff")])) is lamina.UnavailableError


@pytest.mark.parametrize(
    "error",
    [
        lamina.LaminaError("x", reason="A", request_id="r"),
        lamina.DeadlineError("late", reason="DRAINING", request_id="r"),
        lamina.PermissionDeniedError("no", reason="NOT_ALLOWED"),
        lamina.LimitError("big", limit=1, actual=2),
        lamina.CursorError("ahead", cursor="3.ab", head=2),
        lamina.ConflictError("c", conflicts={"x": lamina.Conflict("x", 1, lamina.MISSING, 2, 3, "ann")}, head=4),
    ],
)
def test_errors_can_be_pickled(error: lamina.LaminaError) -> None:
    made = pickle.loads(pickle.dumps(error))
    assert type(made) is type(error)
    assert str(made) == str(error)
    assert vars(made) == vars(error)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (Duration(seconds=1, nanos=500_000_000), 1.5),
        (Duration(), 0.01),
        (Duration(seconds=-5), 0.01),
        (Duration(seconds=2**63 - 1), 3600.0),
    ],
)
def test_a_pause_that_a_server_asks_for_is_one(asked: Duration, seconds: float) -> None:
    """A client that did not pause would ask again as fast as it can, and one that paused too long would fail to."""
    error = error_of("RESOURCE_EXHAUSTED", "too fast", details(info("TOO_MANY"), RetryInfo(retry_delay=asked)))
    assert isinstance(error, lamina.LimitError)
    assert error.retry_seconds == seconds
