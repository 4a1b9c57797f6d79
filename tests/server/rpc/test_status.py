"""Whatever went wrong: what tells of it fits through a proxy, and says what is left out."""

from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import (
    ConflictError,
    CursorError,
    ExistsError,
    HashMismatchError,
    InvalidError,
    KeyConflict,
    LimitError,
    NotFoundError,
    Reason,
    RequestIdReusedError,
    ServerError,
    UnavailableError,
    UnimplementedError,
    Violation,
)
from lamina_server.domain.records import HeadMark, Version
from lamina_server.domain.values import Value
from lamina_server.rpc import status
from tests.server.bare_client import TRAILERS_LIMIT_BYTES, encoded_bytes


def texts(limit_bytes: int) -> st.SearchStrategy[str]:
    """Give texts of up to a size: any characters, and one character over and over, which makes the long ones."""
    repeated = st.builds(
        lambda character, size: character * (size // len(character.encode())),
        st.sampled_from(["a", "%", "\n", "é", "…", "\u2028", "🎉"]),
        st.integers(limit_bytes // 2, limit_bytes),
    )
    return st.text(min_size=1, max_size=limit_bytes // 4) | repeated


def version(config: str, number: int) -> Version:
    """Make the head that a conflict is about."""
    return Version(config, number, b"", "ann", False, "", 0, 1, 1, 1)


numbers = st.integers(0, 2**63 - 1)
configs = st.integers(1, 255).map(lambda size: "c" * size)
marks = st.builds(HeadMark, number=numbers, hash=st.just(b"\xff" * 32))
values = st.none() | texts(300).filter(lambda text: "\x00" not in text).map(Value.of_string)
conflicts = st.builds(
    KeyConflict,
    key=texts(512),
    base=values,
    theirs=values,
    their_version=numbers,
    their_author=texts(255),
    yours=values,
)
reasons = st.sampled_from(Reason)
errors = st.one_of(
    st.builds(InvalidError, reasons, st.lists(st.builds(Violation, texts(600), texts(600)), min_size=1, max_size=16)),
    st.builds(LimitError, reasons, texts(600), limit=numbers, actual=numbers, unit=texts(20)),
    st.builds(NotFoundError.config, configs),
    st.builds(NotFoundError.version, configs, numbers, numbers),
    st.builds(ExistsError, configs),
    st.builds(RequestIdReusedError, texts(128)),
    st.builds(ConflictError, st.builds(version, configs, numbers), st.lists(conflicts, max_size=60)),
    st.builds(CursorError.ahead, configs, numbers, st.none() | marks),
    st.builds(CursorError.forked, configs, numbers, marks),
    st.builds(HashMismatchError, texts(2000)),
    st.builds(UnavailableError, reasons, texts(2000)),
    st.builds(UnimplementedError, texts(8000)),
)


@given(errors)
def test_an_error_fits_through_proxies(error: ServerError) -> None:
    check(error)


def check(error: ServerError) -> None:
    """See that the status of an error is within the budget, and that it is true."""
    end = status.of(error)
    assert encoded_bytes(end.details, end.trailing_metadata) <= TRAILERS_LIMIT_BYTES
    message = Status.FromString(end.trailing_metadata[0][1])
    assert (message.code, message.message) == (end.code.value[0], end.details)
    assert end.details == str(error) or (end.details.endswith("…") and str(error).startswith(end.details[:-1]))
    info, invalid, conflict = ErrorInfo(), BadRequest(), pb.Conflict()
    assert message.details[0].Unpack(info)
    assert info.reason == error.reason
    for detail in message.details[1:]:
        assert detail.Unpack(invalid) or detail.Unpack(conflict)
    if isinstance(error, InvalidError):
        assert 1 <= len(invalid.field_violations) <= len(error.violations)
        for cut, violation in zip(invalid.field_violations, error.violations, strict=False):
            assert violation.field.startswith(cut.field.removesuffix("…"))
            assert violation.description.startswith(cut.description.removesuffix("…"))
    if isinstance(error, ConflictError):
        keys = [one.key for one in error.conflicts]
        assert conflict.conflict_count == len(keys)
        assert [one.key for one in conflict.conflicts] == keys[: len(conflict.conflicts)]
        assert conflict.truncated == (len(conflict.conflicts) < len(keys))
        assert conflict.conflicts or not keys


def test_the_largest_error() -> None:
    """All that an error can have at its longest, of the characters that take the most room."""
    for wide in ("k", "é", "🎉", "%"):
        key, author = wide * (512 // len(wide.encode())), wide * (255 // len(wide.encode()))
        one = KeyConflict(key, None, None, 2**63 - 1, author, None)
        check(ConflictError(version("c" * 255, 2**63 - 1), [one] * 300))


def test_a_text_that_is_not_ascii_is_cut_by_its_encoded_size() -> None:
    """Percent-encoded, each of its bytes takes three; the cut itself takes nine."""
    end = status.of(UnavailableError(Reason.STORE_UNAVAILABLE, "é" * 1000))
    assert end.details == "é" * ((512 - 9) // 6) + "…"
    assert status.of(UnavailableError(Reason.STORE_UNAVAILABLE, "a" * 513)).details == "a" * 503 + "…"
    assert status.of(UnavailableError(Reason.STORE_UNAVAILABLE, "a" * 512)).details == "a" * 512
