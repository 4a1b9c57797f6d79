"""The data keys of a bundle's secrets, into a database that lacks them: only if its outer key can unwrap them."""

from collections.abc import Collection, Sequence

from lamina_server.domain.secrets import WrappedKey
from lamina_server.secrets.keyring import Keyring
from lamina_server.secrets.outer import OuterKey
from lamina_server.store.contract import Writing


class SecretKeysRefusedError(Exception):
    """The secrets of a bundle could not be revealed in this database."""


def add(writing: Writing, bundled: Collection[WrappedKey], numbers: Collection[int], outer: OuterKey | None) -> None:
    """Add those data keys with these numbers that are not there.

    Raises SecretKeysRefusedError if one of them is in neither, or if no outer key would unwrap them and those that are
    there.
    """
    rows = writing.secret_keys()
    there = {key.number: key.check for key in rows}
    if any(there.get(key.number, key.check) != key.check for key in bundled):
        raise SecretKeysRefusedError("the database has another data key under the same number")
    missing = sorted(set(numbers) - there.keys())
    needed = [key for key in bundled if key.number in missing]
    if missing and outer is None:
        text = "the file has secrets: give its server's outer key, by --secret-key-file or --secret-key-command"
        raise SecretKeysRefusedError(text)
    if missing:
        _refuse_two_outer_keys(rows, outer)
    keyring = Keyring(outer)
    keyring.load(needed)
    for number in missing:
        if number in keyring.locked:
            names = ", ".join(sorted({key.outer for key in needed if key.number == number}))
            text = f"the file has secrets whose data key this outer key cannot decrypt; it was encrypted by {names}"
            raise SecretKeysRefusedError(text)
        if keyring.lacks(number):
            raise SecretKeysRefusedError("the file has secrets, and not the data key that has sealed them")
    for key in needed:
        writing.add_secret_key(key)


def _refuse_two_outer_keys(rows: Sequence[WrappedKey], outer: OuterKey | None) -> None:
    """Raise SecretKeysRefusedError if the database has data keys that an outer key cannot unwrap: a server has one."""
    keyring = Keyring(outer)
    keyring.load(rows)
    if keyring.locked:
        names = ", ".join(sorted({row.outer for row in rows if row.number in keyring.locked}))
        raise SecretKeysRefusedError(
            f"the database has secrets whose data keys were encrypted by {names}, which this outer key cannot decrypt: "
            "run `lamina-server keys rotate` there first, from that outer key to this one"
        )
