"""A new data key, and all data keys wrapped by a new outer key: rows are added, and none is changed. Knows no server.

What was sealed before stays as it is, and is unsealed by the older data keys. A server seals by the new one as soon as
it meets it. Under a new outer key the new data key is wrapped by that one alone: an outer key is replaced because
somebody else may know the old one.
"""

from lamina_server.domain.errors import OperatorError
from lamina_server.domain.record import record
from lamina_server.secrets.keyring import Keyring
from lamina_server.secrets.outer import LocalKey, OuterKey, OuterKeySettingError
from lamina_server.store.contract import Store


@record
class Rotated:
    """What was done: a data key was made, and there are so many older ones."""

    older: int


def rotate(store: Store, outer: OuterKey | None, new_outer: OuterKey | None = None) -> Rotated:
    """Add a data key to a store, and wrap all others by a new outer key, if one is given.

    Raises OperatorError, also if the outer key cannot unwrap what is there; then nothing was written.
    """
    if outer is None:
        raise OuterKeySettingError("there is no outer key: give --secret-key-file or --secret-key-command")
    # A command may be the same, and another key may be behind it.
    if isinstance(new_outer, LocalKey) and new_outer.name == outer.name:
        text = "the new outer key is the present one: make a key in a new file, or give none to make a data key alone"
        raise OuterKeySettingError(text)
    keyring = Keyring(outer)
    with store.read() as reading:
        rows = reading.secret_keys()
    # Before the write lock is taken, as the outer key may take long. Without a new one, this tries the present one.
    anew = keyring.wrapped_anew(rows, new_outer or outer)
    made = Keyring(new_outer or outer).make()
    with store.write() as writing:
        if writing.secret_keys() != rows:
            raise OperatorError("another server has just added a data key: run this again")
        for row in anew if new_outer is not None else ():
            writing.add_secret_key(row)
        writing.add_secret_key(made)
    return Rotated(len(anew))
