"""Secrets: what they hold, when two are equal, and that nothing shows what is inside."""

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

import lamina
from lamina._mapping.draft import Draft
from lamina._mapping.entries import Entries
from lamina._mapping.merge import merge
from lamina._mapping.secret import MASK, Absence, Source, received
from lamina._mapping.snapshot import Snapshot
from lamina._mapping.values import Stored, decode, dump, encode, load, read
from lamina._wire.hashing import value_digest
from lamina.cli.output import text
from lamina.records import MISSING, Version, unwritten
from lamina_protos.v1 import lamina_pb2 as pb

CANARY = "canary-41c9"


def sent(sealed: bytes, key: str = "pw", config: str = "app", plain: str | None = None) -> lamina.Secret:
    """Make a secret as a server sends it."""
    if plain is None:
        return received(sealed, None, b"", key, Source(config))
    return received(sealed, "string", plain, key, Source(config))


def entries(**secrets: lamina.Secret | pb.Secret) -> Entries:
    """Make the first version of "app"."""
    header = Version(**{**vars_of(unwritten("app")), "number": 1, "hash": "00"})
    messages = {
        key: pb.Entry(key=key, origin_version=1, value=pb.Value(secret=secret))
        for key, secret in secrets.items()
        if isinstance(secret, pb.Secret)
    }
    return Entries(header, messages)


def vars_of(version: Version) -> dict[str, Any]:
    return {name: getattr(version, name) for name in version.__slots__}


@pytest.mark.parametrize("content", ["", "text", b"", b"\x00\xff", [], {}, [1, {"a": None}], {"b": 1, "a": [2.0]}])
def test_a_secret_reveals_what_it_was_made_of(content: Any) -> None:
    made = lamina.Secret(content)
    assert made.is_revealed
    assert made.reveal() == content
    assert type(made.reveal()) is type(content) or isinstance(made.reveal(), type(content))


def test_nothing_shows_the_content() -> None:
    made = lamina.Secret(CANARY)
    shown = [
        str(made),
        repr(made),
        f"{made}",
        f"{made:>10}",
        f"{made!r:>20}",
        f"{made!s}",
        repr([made]),
        str({"a": made}),
    ]
    shown += [repr(lamina.Change(made, made)), repr(Stored("secret", made)), f"{hash(made)}", f"{made.__doc__}"]
    assert CANARY not in "".join(shown)
    assert str(made) == MASK == text.MASK
    assert f"{made:>6}" == f"  {MASK}"
    assert not hasattr(made, "__dict__")


def test_a_secret_is_neither_json_nor_a_pickle() -> None:
    made = lamina.Secret(CANARY)
    with pytest.raises(TypeError, match="not JSON serializable") as refused:
        json.dumps({"pw": made})
    assert CANARY not in str(refused.value)
    with pytest.raises(TypeError, match=r"a Secret does not pickle: reveal\(\) returns its content"):
        pickle.dumps(made)


def test_an_error_of_a_secret_does_not_lead_to_its_content() -> None:
    with pytest.raises(lamina.InvalidError, match="a lone surrogate") as refused:
        lamina.Secret(f"{CANARY}\udc80")
    assert refused.value.__context__ is refused.value.__cause__ is None


def test_a_pickled_conflict_has_no_contents_and_a_copy_has() -> None:
    """So the error of a worker process reaches the process that has started it."""
    theirs = sent(b"s", plain=CANARY)
    conflict = lamina.Conflict("pw", lamina.MISSING, theirs, lamina.Secret(CANARY), 3, "ann")
    data = pickle.dumps(lamina.ConflictError("c", conflicts={"pw": conflict}, head=3))
    assert CANARY.encode() not in data
    error = pickle.loads(data)
    again = error.conflicts["pw"]
    assert (error.head, again.base, again.theirs, again.version, again.author) == (3, lamina.MISSING, theirs, 3, "ann")
    for secret in (again.theirs, again.yours):
        with pytest.raises(lamina.PermissionDeniedError, match="a pickle never holds"):
            secret.reveal()
    assert pickle.loads(pickle.dumps(again)).theirs == theirs, "without a content it may go on"
    assert copy.deepcopy(conflict).yours.reveal() == copy.copy(conflict).yours.reveal() == CANARY
    change = pickle.loads(pickle.dumps(lamina.Change(None, theirs)))
    assert (change.old, change.new, change.new.is_revealed) == (None, theirs, False)


def test_a_secret_is_logged_as_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("shop").warning("the password is %s, %r", lamina.Secret(CANARY), lamina.Secret(CANARY))
    assert MASK in caplog.text
    assert CANARY not in caplog.text


def test_a_secret_cannot_be_changed_and_a_copy_is_the_same() -> None:
    made = lamina.Secret(CANARY)
    changes: list[Callable[[], None]] = [
        lambda: setattr(made, "_content", None),
        lambda: delattr(made, "_content"),
        lambda: setattr(made, "x", 1),
    ]
    for change in changes:
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()
    assert copy.copy(made) is made
    assert copy.deepcopy([made])[0] is made
    assert made.reveal() == CANARY


def test_secrets_are_equal_by_what_is_inside() -> None:
    assert lamina.Secret("a") == lamina.Secret("a")
    assert lamina.Secret("a") != lamina.Secret("b")
    assert lamina.Secret("a") != lamina.Secret(b"a")
    assert lamina.Secret({"a": 1, "b": 2}) == lamina.Secret({"b": 2, "a": 1})
    assert lamina.Secret("a") != "a"
    assert len({lamina.Secret("a"), lamina.Secret("a"), lamina.Secret("b")}) == 2
    assert hash(lamina.Secret("a")) == hash(lamina.Secret("b"))
    assert bool(lamina.Secret(""))  # its truth says nothing either


def test_sealed_secrets_are_equal_by_their_bytes_or_if_both_are_revealed() -> None:
    assert sent(b"s1") == sent(b"s1")
    assert sent(b"s1") == sent(b"s1", plain="a")
    assert sent(b"s1") != sent(b"s2")
    assert sent(b"s1", plain="a") == sent(b"s2", plain="a")  # sealed by different keys
    assert sent(b"s1", plain="a") == lamina.Secret("a")
    assert sent(b"s1") != lamina.Secret("a")
    assert sent(b"") != sent(b"")  # nothing is known of either


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (5, TypeError, "the content of a Secret is text, bytes, a list or a dict, not int"),
        (None, TypeError, "not NoneType"),
        (lamina.Secret("a"), TypeError, "not Secret"),
        (f"{CANARY}\x00", lamina.InvalidError, "the content of a Secret holds U.0000"),
        ({CANARY: {CANARY: object()}}, TypeError, "the content of a Secret cannot be an object"),
        ([{CANARY: float("nan")}], lamina.InvalidError, "the content of a Secret is not a finite number"),
    ],
)
def test_a_bad_content_is_refused_without_showing_it(content: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        lamina.Secret(content)
    own = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    ours = [frame for frame in own.stack if "/lamina/" in frame.filename]
    assert len(ours) == 1
    assert CANARY not in "".join([str(refused.value), *(ours[0].locals or {}).values()])


def test_a_secret_is_a_whole_value() -> None:
    with pytest.raises(TypeError, match=r"the value of 'k'\[0\] cannot be a Secret: use one Secret for the whole list"):
        encode([lamina.Secret("a")], key="k")


@pytest.mark.parametrize(
    ("absence", "error", "message"),
    [
        (
            Absence.NOT_REVEALED,
            lamina.PermissionDeniedError,
            "'pw' of app was not revealed: no grant of yours",
        ),
        (Absence.BUNDLED, lamina.PermissionDeniedError, "a bundle never holds the content"),
        (Absence.PICKLED, lamina.PermissionDeniedError, "a pickle never holds the content"),
        (Absence.CACHED, lamina.UnavailableError, "'pw' of app is not in the last-known-good file"),
    ],
)
def test_a_missing_content_is_an_error_that_says_why(
    absence: Absence, error: type[lamina.LaminaError], message: str
) -> None:
    found = read(pb.Value(secret=pb.Secret(sealed=b"s")), "pw", Source("app", absence))
    assert not found.is_revealed
    with pytest.raises(error, match=message):
        found.reveal()


def test_a_content_that_the_server_cannot_decrypt_is_an_error_in_its_words() -> None:
    message = pb.Value(secret=pb.Secret(sealed=b"s", unavailable="its key is away"))
    with pytest.raises(lamina.LaminaError, match="'pw' of app cannot be revealed by the server: its key is away") as it:
        read(message, "pw", Source("app")).reveal()
    assert (type(it.value), it.value.reason) == (lamina.LaminaError, "SECRETS_UNAVAILABLE")


def test_the_wire_has_the_content_or_the_sealed_bytes() -> None:
    assert dump(encode(lamina.Secret("a"), key="k")) == pb.Value(secret=pb.Secret(string="a"))
    assert dump(encode(lamina.Secret(b"a"), key="k")) == pb.Value(secret=pb.Secret(bytes=b"a"))
    assert dump(encode(lamina.Secret({"b": 1, "a": 2}), key="k")) == pb.Value(secret=pb.Secret(json='{"a":2,"b":1}'))
    assert dump(encode(sent(b"s"), key="pw")) == pb.Value(secret=pb.Secret(sealed=b"s"))
    assert dump(encode(sent(b"s", plain=""), key="pw")) == pb.Value(secret=pb.Secret(string=""))
    for plain in ({"string": ""}, {"bytes": b""}, {"json": "[]"}, {"string": "a"}):
        message = pb.Value(secret=pb.Secret(sealed=b"s", **plain))
        assert decode(load(message)).reveal() in ("", b"", [], "a")


def test_a_digest_is_over_the_sealed_bytes() -> None:
    revealed = load(pb.Value(secret=pb.Secret(sealed=b"s", string="a")))
    hidden = load(pb.Value(secret=pb.Secret(sealed=b"s")))
    as_bytes = load(pb.Value(bytes=b"s"))
    assert value_digest("app", 1, "pw", revealed) == value_digest("app", 1, "pw", hidden)
    assert value_digest("app", 1, "pw", hidden) != value_digest("app", 1, "pw", as_bytes)


def test_a_secret_assigned_back_changes_nothing() -> None:
    draft = Draft(entries(pw=pb.Secret(sealed=b"s"), open=pb.Secret(sealed=b"t", string="a")))
    draft["pw"] = draft["pw"]
    draft["open"] = lamina.Secret("a")
    draft |= dict(draft)
    draft.update(draft.to_dict())
    assert not draft.changes
    draft["open"] = lamina.Secret("b")
    assert list(draft.changes) == ["open"]
    assert draft["open"].reveal() == "b"


def test_a_secret_that_was_not_revealed_stays_where_it_is() -> None:
    draft = Draft(entries(pw=pb.Secret(sealed=b"s"), open=pb.Secret(sealed=b"t", string="a")))
    with pytest.raises(lamina.InvalidError, match=r"'other' is the secret 'pw' of app, which was not revealed.*alone"):
        draft["other"] = draft["pw"]
    with pytest.raises(lamina.InvalidError, match="can be set as 'pw' of shop alone"):
        draft["pw"] = sent(b"u", config="shop")
    draft["other"] = draft["open"]  # its content is known
    draft["pw"] = sent(b"older")  # of the same key: an older version
    assert dump(encode(draft["other"], key="other")) == pb.Value(secret=pb.Secret(string="a"))
    assert sorted(draft.changes) == ["other", "pw"]


def test_a_pickled_snapshot_has_no_contents_and_a_copy_has() -> None:
    snapshot = Snapshot(entries(pw=pb.Secret(sealed=b"s", string=CANARY)))
    data = pickle.dumps(snapshot)
    assert CANARY.encode() not in data
    again = pickle.loads(data)
    assert again == snapshot
    with pytest.raises(lamina.PermissionDeniedError, match="a pickle never holds"):
        again["pw"].reveal()
    assert copy.copy(snapshot)["pw"].reveal() == copy.deepcopy(snapshot)["pw"].reveal() == CANARY


def test_a_dict_of_a_snapshot_has_secrets() -> None:
    snapshot = Snapshot(entries(pw=pb.Secret(sealed=b"s", json='{"a":[1]}')))
    made = snapshot.to_dict()
    assert isinstance(made["pw"], lamina.Secret)
    assert snapshot == made == snapshot | {}
    assert snapshot != {"pw": {"a": [1]}}


class _At:
    def __init__(self, value: Stored | Any) -> None:
        self._value = value

    def stored(self, _key: str) -> Any:
        return self._value


def test_secrets_merge_by_their_contents() -> None:
    def stored(made: lamina.Secret) -> Stored:
        return encode(made, key="pw")

    base, same_resealed = stored(sent(b"1", plain="a")), stored(sent(b"2", plain="a"))
    yours, theirs = stored(lamina.Secret("b")), stored(sent(b"3", plain="b"))
    assert merge(_At(base), _At(same_resealed), {"pw": yours}, set()).conflicts == ()
    assert merge(_At(base), _At(theirs), {"pw": yours}, set()).staged == {}
    assert merge(_At(base), _At(stored(sent(b"4", plain="c"))), {"pw": yours}, set()).conflicts == ("pw",)
    assert merge(_At(stored(sent(b"1"))), _At(stored(sent(b"1"))), {"pw": yours}, set()).conflicts == ()
    assert merge(_At(MISSING), _At(stored(sent(b"3"))), {"pw": yours}, set()).conflicts == ("pw",)


def test_pydantics_secrets_are_no_values_and_the_error_says_what_is() -> None:
    with pytest.raises(TypeError, match=r"use lamina.Secret\(value.get_secret_value\(\)\)"):
        encode(SecretStr("a"), key="k")


def test_neither_length_nor_order_tell_anything() -> None:
    made: Any = lamina.Secret("abc")
    broken: list[Callable[[], Any]] = [
        lambda: len(made),
        lambda: sorted([made, lamina.Secret("b")]),
        lambda: "a" in made,
        lambda: made + "x",
    ]
    for use in broken:
        with pytest.raises(TypeError):
            use()
