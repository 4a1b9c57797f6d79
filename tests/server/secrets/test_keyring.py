"""Sealing, unsealing and comparing, over a store in memory."""

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.domain.errors import OperatorError, SecretsUnavailableError
from lamina_server.domain.secrets import MARK, Content, number_of
from lamina_server.domain.values import Kind, Value
from lamina_server.secrets.keyring import Keyring, ensure_data_key, load
from lamina_server.secrets.outer import LocalKey, OuterKey, OuterKeyError
from lamina_server.secrets.rotation import rotate
from lamina_server.secrets.sealing import CannotUnsealError, DataKey, new_key
from lamina_server.store.memory import MemoryStore

KEY = DataKey.of(*new_key())
PLACE = ("payments/prod", "db/password")
contents = st.builds(Content, st.sampled_from([Kind.STRING, Kind.BYTES, Kind.JSON]), st.binary(max_size=100))


def text(content: str) -> Content:
    return Content(Kind.STRING, content.encode())


def ready(store: MemoryStore, outer: OuterKey) -> Keyring:
    keyring = Keyring(outer)
    ensure_data_key(keyring, store)
    return keyring


@given(contents)
def test_what_is_sealed_is_unsealed_at_its_place_alone(content: Content) -> None:
    sealed = KEY.seal(*PLACE, content)
    assert KEY.seal(*PLACE, content) == sealed
    assert KEY.unseal(*PLACE, sealed) == content
    assert number_of(sealed) == KEY.number
    assert 0 < len(sealed) - len(content.data) <= 64
    config, key = PLACE
    both = f"{config}{key}"
    for place in ((config, f"{key}2"), (f"{config}2", key), (both, ""), ("", both), (key, config)):
        with pytest.raises(CannotUnsealError):
            KEY.unseal(*place, sealed)


@given(contents, contents)
def test_different_contents_have_different_bytes(one: Content, other: Content) -> None:
    assert (KEY.seal(*PLACE, one) == KEY.seal(*PLACE, other)) == (one == other)


@given(contents, st.data())
def test_a_changed_byte_is_noticed(content: Content, data: st.DataObject) -> None:
    sealed = bytearray(KEY.seal(*PLACE, content))
    place = data.draw(st.integers(12, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CannotUnsealError):
        KEY.unseal(*PLACE, bytes(sealed))


@pytest.mark.parametrize("data", [b"", MARK, MARK + bytes(55), b"x" * 100, bytes(100)])
def test_other_bytes_have_no_data_key(data: bytes) -> None:
    assert number_of(data) is None
    with pytest.raises(CannotUnsealError):
        Keyring(LocalKey.random()).unseal(*PLACE, data)


def test_contents_are_the_same_under_any_data_key() -> None:
    store, outer = MemoryStore(), LocalKey.random()
    old = ready(store, outer)
    one, two = (old.seal(*PLACE, text(each)) for each in ("one", "two"))
    rotate(store, outer)
    new = ready(store, outer)
    again = new.seal(*PLACE, text("one"))
    assert again != one
    assert new.seal(*PLACE, text("one"), number=number_of(bytes(one.canonical))) == one
    assert [new.same(*PLACE, again, each) for each in (one, two, again, None, Value.of_string("one"))] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert not old.same(*PLACE, again, one), "the older keyring has only the bytes"
    load(old, store)
    assert old.same(*PLACE, again, one)
    assert list(old.numbers) == list(new.numbers) == [number_of(again.canonical), number_of(one.canonical)]


def test_a_secret_is_sealed_anew_for_another_config() -> None:
    store, outer = MemoryStore(), LocalKey.random()
    keyring = ready(store, outer)
    config, key = PLACE
    value = keyring.seal(config, key, text("one"))
    assert keyring.resealed(config, "b", key, value) == keyring.seal("b", key, text("one"))
    with pytest.raises(SecretsUnavailableError, match="was not sealed for its place"):
        keyring.resealed("b", "c", key, value)
    without = Keyring(None)
    load(without, store)
    with pytest.raises(SecretsUnavailableError, match="--secret-key-file"):
        without.resealed(config, "b", key, value)


def test_two_servers_that_begin_together_make_one_data_key() -> None:
    store, outer = MemoryStore(), LocalKey.random()
    assert set(ready(store, outer).numbers) == set(ready(store, outer).numbers)
    with store.read() as reading:
        assert len(reading.secret_keys()) == 1


def test_another_outer_key_seals_nothing_and_says_why() -> None:
    store = MemoryStore()
    ready(store, LocalKey.random())
    other = Keyring(LocalKey.random())
    load(other, store)
    assert not other.can_seal
    assert isinstance(other.failure, OuterKeyError)
    with pytest.raises(SecretsUnavailableError, match="its log says why"):
        other.seal(*PLACE, text("one"))


def test_a_rotation_writes_all_or_nothing() -> None:
    store, outer, new = MemoryStore(), LocalKey.random(), LocalKey.random()
    ready(store, outer)
    with pytest.raises(OuterKeyError):
        rotate(store, new)
    with pytest.raises(OperatorError, match="there is no outer key"):
        rotate(store, None)
    with store.read() as reading:
        assert len(reading.secret_keys()) == 1
    rotate(store, outer, new)
    with store.read() as reading:
        rows = reading.secret_keys()
    assert [row.outer for row in rows] == [outer.name, new.name, new.name]
    assert rows[0].number == rows[1].number != rows[2].number
    late = Keyring(outer)
    late.load(rows)
    assert not late.can_seal, "the newest data key is wrapped by the new outer key alone"
    assert list(late.numbers) == [rows[0].number]


def test_the_data_keys_can_be_listed_while_others_are_loaded() -> None:
    """Calls list them on the event loop, and a thread loads what another server has made."""
    keyring = Keyring(LocalKey.random())
    rows = [keyring.make() for _ in range(1_000)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        loading = threading.Thread(target=keyring.load, args=(rows,))
        loading.start()
        while loading.is_alive():
            assert len(keyring.numbers) <= len(rows)
    finally:
        sys.setswitchinterval(before)
    assert list(keyring.numbers) == [row.number for row in reversed(rows)]
