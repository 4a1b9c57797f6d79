"""The data keys that a server has unwrapped: they seal, unseal, compare, and seal anew for another config.

Any thread may use a Keyring. `load` and `add` block, because they may ask the outer key, which may be a command.

Worked example. The store has the data keys 5 and 9; 9 is the newest. A content is sealed by 9. A value of an old
version was sealed by 5, and is unsealed by 5. If both have the same content, `same` says so. Another server has just
made the data key 12: a value that it has sealed begins with a number which is not here, so the store is asked.
"""

import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import structlog

from lamina_server.domain.errors import SecretsUnavailableError
from lamina_server.domain.secrets import Content, WrappedKey, number_of
from lamina_server.domain.values import Kind, Value
from lamina_server.secrets.outer import OuterKey, OuterKeyError
from lamina_server.secrets.sealing import CannotUnsealError, DataKey, check_of, new_key
from lamina_server.store.contract import Store

LACKS_DATA_KEY: Final = "it does not have the data key; its log says why"
FAILED: Final = "its outer key cannot be used; its log says why"
NO_OUTER_KEY: Final = "it was started without --secret-key-file and --secret-key-command"

_log = structlog.get_logger(__name__)


class Keyring:
    """The data keys of one store. Make it without an outer key for a server that cannot reveal.

    why_not  why no content can be sealed now, for callers; empty if it can
    failure  why the newest data key could not be unwrapped, for the operator; None if it could
    """

    def __init__(self, outer: OuterKey | None) -> None:
        self.outer = outer
        self.why_not = NO_OUTER_KEY if outer is None else ""
        self.failure: OuterKeyError | None = None
        self._keys: dict[int, DataKey] = {}
        self._locked: frozenset[int] = frozenset()
        self._newest: DataKey | None = None
        self._loading = threading.Lock()

    # --- data keys --------------------------------------------------------------------------

    @property
    def can_seal(self) -> bool:
        """Return whether there is a data key for new contents."""
        return self._newest is not None and not self.why_not

    @property
    def numbers(self) -> Collection[int]:
        """Return the numbers of the data keys that are here, the newest first."""
        newest = self._newest
        others = [number for number in reversed(list(self._keys)) if newest is None or number != newest.number]
        return [newest.number, *others] if newest is not None else others

    @property
    def locked(self) -> Collection[int]:
        """Return the numbers of the data keys that the store has, and the outer key could not unwrap."""
        return self._locked

    def lacks(self, number: int) -> bool:
        """Return whether a data key is not here, but may be in the store."""
        return self.outer is not None and number not in self._keys

    def load(self, rows: Sequence[WrappedKey]) -> None:
        """Take over the data keys of a store. Those that the outer key cannot unwrap are left out, and logged."""
        if self.outer is None:
            self._locked = frozenset(row.number for row in rows)
            return
        with self._loading:
            failures: dict[int, OuterKeyError] = {}
            late: OuterKeyError | None = None
            for number in dict.fromkeys(row.number for row in rows if row.number not in self._keys):
                if late is not None:
                    failures[number] = late
                    continue
                try:
                    self._keys[number] = self._unwrapped([row for row in rows if row.number == number])
                except OuterKeyError as error:
                    failures[number] = error
                    late = error if error.is_late else None
            own = list(dict.fromkeys(row.number for row in rows if not row.is_foreign))
            self._newest = self._keys.get(own[-1]) if own else None
            self.failure = failures.get(own[-1]) if own else None
            self.why_not = FAILED if self.failure else ""
            if failures.keys() - self._locked:
                _log.error("secrets unavailable", data_keys=len(failures), reason=str(next(iter(failures.values()))))
            self._locked = frozenset(failures)

    def make(self) -> WrappedKey:
        """Make a data key, wrapped. It is not used before it was loaded from the store. Raise OuterKeyError."""
        number, key = new_key()
        return wrapped_by(self._outer(), WrappedKey(number, False, check_of(key), "", b""), key)  # noqa: FBT003 - a field

    def wrapped_anew(self, rows: Iterable[WrappedKey], outer: OuterKey) -> list[WrappedKey]:
        """Return each data key as another outer key wraps it. Raise OuterKeyError if one cannot be unwrapped."""
        made = []
        for number in dict.fromkeys(row.number for row in rows):
            mine = [row for row in rows if row.number == number]
            made.append(wrapped_by(outer, mine[0], self._opened(mine)))
        return made

    def _unwrapped(self, rows: Sequence[WrappedKey]) -> DataKey:
        return DataKey.of(rows[0].number, self._opened(rows))

    def _opened(self, rows: Sequence[WrappedKey]) -> bytes:
        """Return a data key's bytes, from the first of its rows that the outer key can unwrap."""
        failure = None
        outer = self._outer()
        # First what this outer key has wrapped: a command takes long for what it cannot unwrap.
        for row in sorted(rows, key=lambda row: row.outer != outer.name):
            try:
                key = outer.unwrap(row.wrapped)
            except OuterKeyError as error:
                if error.is_late:
                    raise
                failure = failure or error
                continue
            if check_of(key) == row.check:
                return key
            failure = failure or OuterKeyError("it unwraps a data key to another one", is_lasting=True)
        assert failure is not None
        if failure.is_lasting and outer.name not in (names := {row.outer for row in rows}):
            by = " and ".join(sorted(names))
            text = f"the data keys are encrypted by the outer key {by}, and the given one is {outer.name}"
            raise OuterKeyError(text, is_lasting=True)
        raise failure

    def _outer(self) -> OuterKey:
        if self.outer is None:
            raise OuterKeyError(f"there is no outer key: {NO_OUTER_KEY}", is_lasting=True)
        return self.outer

    # --- secrets ----------------------------------------------------------------------------

    def seal(self, config: str, key: str, content: Content, *, number: int | None = None) -> Value:
        """Seal a content by the newest data key, or by the one with a number. Raise SecretsUnavailableError."""
        data_key = self._newest if number is None else self._keys.get(number)
        if data_key is None or self.why_not:
            raise SecretsUnavailableError(self.why_not or "it has no data key yet")
        return Value.of_secret(data_key.seal(config, key, content))

    def unseal(self, config: str, key: str, sealed: bytes) -> Content | None:
        """Return the content of sealed bytes; None if their data key is not here.

        Raises CannotUnsealError for bytes that were not sealed for this config and key.
        """
        number = number_of(sealed)
        if number is None:
            raise CannotUnsealError
        data_key = self._keys.get(number)
        if data_key is None:
            return None
        return data_key.unseal(config, key, sealed)

    def same(self, config: str, key: str, one: Value | None, other: Value | None) -> bool:
        """Return whether two values are equal, by what is inside.

        Under one data key equal contents have equal bytes. So there is something to unseal only after a rotation.
        Secrets that cannot be unsealed here are equal if their bytes are.
        """
        if one == other:
            return True
        if one is None or other is None or one.kind is not Kind.SECRET or other.kind is not Kind.SECRET:
            return False
        ours, theirs = bytes(one.data or b""), bytes(other.data or b"")  # type: ignore[arg-type]  # of secrets, bytes
        if number_of(ours) == number_of(theirs):
            return False
        try:
            content = self.unseal(config, key, ours)
            return content is not None and content == self.unseal(config, key, theirs)
        except CannotUnsealError:
            return False

    def resealed(self, source: str, target: str, key: str, value: Value) -> Value:
        """Seal a secret of one config for another. Raise SecretsUnavailableError."""
        assert isinstance(value.data, bytes)
        try:
            content = self.unseal(source, key, value.data)
        except CannotUnsealError:
            raise SecretsUnavailableError(f"the secret {key!r} of {source!r} was not sealed for its place") from None
        if content is None:
            raise SecretsUnavailableError(self.why_not or f"it lacks the data key of {key!r} of {source!r}")
        return self.seal(target, key, content)


def wrapped_by(outer: OuterKey, row: WrappedKey, key: bytes) -> WrappedKey:
    """Return a data key as an outer key wraps it. Raise OuterKeyError."""
    return WrappedKey(row.number, row.is_foreign, row.check, outer.name, outer.wrap(key))


def load(keyring: Keyring, store: Store) -> None:
    """Load a store's data keys. Blocks."""
    with store.read() as reading:
        rows = reading.secret_keys()
    keyring.load(rows)


def ensure_data_key(keyring: Keyring, store: Store) -> None:
    """Load a store's data keys, and make the first one if there is none. Blocks. Raises OuterKeyError."""
    with store.read() as reading:
        rows = reading.secret_keys()
    if all(row.is_foreign for row in rows):
        made = keyring.make()  # before the write lock is taken, as the outer key may take long
        with store.write() as writing:
            if all(row.is_foreign for row in writing.secret_keys()):  # no other server was faster
                writing.add_secret_key(made)
        with store.read() as reading:
            rows = reading.secret_keys()
    keyring.load(rows)
