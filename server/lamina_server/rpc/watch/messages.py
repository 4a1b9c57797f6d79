"""What a watcher is told of the versions in a ring: messages made of bytes that are there, each once for all."""

from collections.abc import Mapping

from lamina_server.feed.ring import Recent
from lamina_server.feed.subscribers import Subscriber
from lamina_server.wire import encode

_MESSAGES_KEPT = 4
"""Of one version: for as many kinds of watchers. A version of thousands of keys could be told in thousands of ways."""
_LENGTHS_LOOKED_UP = 8
"""A thousand prefixes of a few lengths are found sooner by looking each length up."""
_ALL = ("",)
"""Stands for all that a version changed; no key is empty."""


def message_of(recent: Recent, follower: Subscriber) -> bytes:
    """Return what a watcher is told of a version; empty where it changed nothing that is wanted."""
    entries = recent.made.entries
    keys = _matching(entries, follower)
    if not keys:
        return b""
    message = recent.messages.get(keys)
    if message is None:
        number = recent.made.version.number
        told = entries if keys is _ALL else {key: entries[key] for key in keys}
        changes = [encode.change(key, encoded, number) for key, encoded in told.items()]
        message = encode.whole_version(recent.made.header, changes)
        if keys is _ALL or len(recent.messages) < _MESSAGES_KEPT:
            recent.messages[keys] = message
    return message


def _matching(entries: Mapping[str, bytes | None], follower: Subscriber) -> tuple[str, ...]:
    """Return the keys that a watcher wants, in order; _ALL for all of them."""
    keys, prefixes = follower.keys, follower.prefixes
    if not keys and not prefixes:
        return _ALL if entries else ()
    if not prefixes and len(keys) < len(entries):
        found = tuple(sorted(key for key in keys if key in entries))
    elif len(follower.prefixes_by_length) < _LENGTHS_LOOKED_UP:
        lengths = follower.prefixes_by_length.items()
        found = tuple(key for key in entries if key in keys or any(key[:length] in group for length, group in lengths))
    else:
        found = tuple(key for key in entries if key in keys or key.startswith(prefixes))
    return _ALL if len(found) == len(entries) else found
