"""The messages of watches about versions in a ring: joined from encoded changes, each made once for all watches."""

from collections.abc import Mapping

from lamina_server.feed.ring import Recent
from lamina_server.feed.subscribers import Subscriber
from lamina_server.wire import encode

_MESSAGES_KEPT = 4
"""Messages kept of one version, for as many filters: a version of thousands of keys could have thousands of them."""
_LENGTHS_LOOKED_UP = 8
"""With fewer lengths of prefixes than this, one look-up for each length is faster than trying each prefix."""
_ALL = ("",)
"""Stands for all keys that a version changed; no key is empty."""


def message_of(recent: Recent, subscriber: Subscriber) -> bytes:
    """Return the message of a version for a subscriber; empty if the version changed nothing that it wants."""
    entries = recent.made.entries
    keys = _matching(entries, subscriber)
    if not keys:
        return b""
    message = recent.messages.get(keys)
    if message is None:
        number = recent.made.version.number
        wanted = entries if keys is _ALL else {key: entries[key] for key in keys}
        changes = [encode.change(key, encoded, number) for key, encoded in wanted.items()]
        message = encode.whole_version(recent.made.header, changes)
        if keys is _ALL or len(recent.messages) < _MESSAGES_KEPT:
            recent.messages[keys] = message
    return message


def _matching(entries: Mapping[str, bytes | None], subscriber: Subscriber) -> tuple[str, ...]:
    """Return the keys that a subscriber wants, in order; _ALL for all of them."""
    keys, prefixes = subscriber.keys, subscriber.prefixes
    if not keys and not prefixes:
        return _ALL if entries else ()
    if not prefixes and len(keys) < len(entries):
        found = tuple(sorted(key for key in keys if key in entries))
    elif len(subscriber.prefixes_by_length) < _LENGTHS_LOOKED_UP:
        lengths = subscriber.prefixes_by_length.items()
        found = tuple(key for key in entries if key in keys or any(key[:length] in group for length, group in lengths))
    else:
        found = tuple(key for key in entries if key in keys or key.startswith(prefixes))
    return _ALL if len(found) == len(entries) else found
