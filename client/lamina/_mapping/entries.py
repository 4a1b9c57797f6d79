"""A version's whole map, as wire messages, immutable; each later version shares the unchanged part.

Worked example: version 1 has 50,000 keys in one dict. Version 2, x = 28, is made of the same dict and the overlay
{x: 28}, version 3, without y, of the same dict and the overlay {x: 28, y: none}. So a commit copies the recent changes
and not the map. When an overlay has grown too large to be copied each time, the next version gets its own dict and an
empty overlay. A version never changes, so threads may share all of it.

Values are decoded when they are first read. Decoded values are kept beside the dict that they came from, and later
versions share them: a large value that is read often is not decoded again after each commit of another key.
The values read from one version are also kept with it, in a plain dict, so that the next read is a single lookup.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from lamina._mapping.secret import Absence, Source
from lamina._mapping.values import Stored, load, read, without_content
from lamina.records import MISSING, Missing, Version, unwritten
from lamina_protos.v1 import lamina_pb2 as pb

Overlay: TypeAlias = Mapping[str, pb.Entry | None]
"""Changes by key; None for a deleted key."""

_NOTHING: Final[Overlay] = {}


class Entries:
    """The whole map of one version, immutable. It keeps the wire's messages and decodes each on its first access.

    `read_cache` has the values that were read already, by key; hot paths look there before they call `value`.
    """

    __slots__ = (
        "__weakref__",
        "_decoded",
        "_messages",
        "_order",
        "_overlaid",
        "_overlay",
        "_size",
        "header",
        "read_cache",
        "source",
    )

    _order: Collection[str] | None

    def __init__(
        self, header: Version, messages: Mapping[str, pb.Entry], absence: Absence = Absence.NOT_REVEALED
    ) -> None:
        """Take the messages in key order, which is the same by bytes and by Python's text.

        `absence` says why the contents of some secrets are not there.
        """
        self.header = header
        self.source = Source(header.config, absence)
        self._fill(messages, {}, _NOTHING, {}, len(messages), messages)

    @classmethod
    def empty(cls, config: str) -> "Entries":
        """Make version 0."""
        return cls(unwritten(config), {})

    @classmethod
    def from_bytes(cls, header: Version, content: bytes) -> "Entries":
        """Make the entries that `to_bytes` has written."""
        entries = {entry.key: entry for entry in pb.ConfigVersion.FromString(content).entries}
        return cls(header, entries, Absence.PICKLED)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        order = self._order
        if order is None:
            kept = [key for key in self._messages if key not in self._overlay]
            kept += [key for key, message in self._overlay.items() if message is not None]
            order = self._order = sorted(kept)  # two sorted runs, almost: this costs hardly more than a copy
        return iter(order)

    def __contains__(self, key: object) -> bool:
        return self.find(key) is not None

    def value(self, key: str) -> Any:
        """Return a key's value, lists and dicts read-only; KeyError if there is none."""
        messages: Overlay = self._messages
        decoded = self._decoded
        if key in self._overlay:
            messages, decoded = self._overlay, self._overlaid
        if key in decoded:
            value = decoded[key]
        else:
            message = messages[key]
            if message is None:
                raise KeyError(key)
            value = decoded[key] = read(message.value, key, self.source)
        self.read_cache[key] = value
        return value

    def stored(self, key: str) -> Stored | Missing:
        """Return a key's value in canonical form; MISSING if there is none."""
        message = self.find(key)
        return MISSING if message is None else load(message.value, key, self.source)

    def origin(self, key: str) -> int:
        """Return the number of the version that set a key's value; KeyError if there is none."""
        message = self.find(key)
        if message is None:
            raise KeyError(key)
        return message.origin_version

    def find(self, key: Any) -> pb.Entry | None:
        """Return a key's message; None if there is none."""
        return self._overlay[key] if key in self._overlay else self._messages.get(key)

    def messages(self) -> Iterator[pb.Entry]:
        """Return the messages, in key order."""
        return map(self._message, self)

    def changes_since(self, other: "Entries") -> list[pb.Change]:
        """Return the changes that turn another map into this one, in key order."""
        changed = [entry for entry in self.messages() if self.stored(entry.key) != other.stored(entry.key)]
        changes = [pb.Change(key=entry.key, value=entry.value) for entry in changed]
        changes += [pb.Change(key=key, deleted=True) for key in other if key not in self]
        return sorted(changes, key=lambda change: change.key)

    def advanced(self, header: Version, changes: Overlay) -> "Entries":
        """Make the entries of a later version that differs in these keys; None where it has no such key."""
        size, order = self._size, self._order
        for key, message in changes.items():
            grows = (message is not None) - (key in self)
            if grows:
                size, order = size + grows, None
        messages, overlay = self._messages, {**self._overlay, **changes}
        # Each is copied in one step, because other threads may read, and so decode, at the same time.
        decoded, overlaid = self._decoded, _without(dict(self._overlaid), changes)
        # With this limit, the copies of the overlay cost about as much as the rare copy of the map.
        if len(overlay) ** 2 > 2 * len(messages):
            decoded = {**_without(dict(decoded), overlay), **overlaid}
            messages, overlay, overlaid = _merged(messages, overlay), {}, {}
            if order is self._messages:
                order = messages
        later = Entries.__new__(Entries)
        later.header, later.source = header, self.source
        later._fill(messages, decoded, overlay, overlaid, size, order)  # noqa: SLF001 - of the same class
        return later

    def without_read_cache(self) -> "Entries":
        """Make the same entries with an empty read cache."""
        same = Entries.__new__(Entries)
        same.header, same.source = self.header, self.source
        same._fill(self._messages, self._decoded, self._overlay, self._overlaid, self._size, self._order)  # noqa: SLF001
        same.read_cache = {}
        return same

    def to_bytes(self) -> bytes:
        """Return the entries in wire format, without contents of secrets: a ConfigVersion with nothing else in it."""
        return pb.ConfigVersion(entries=map(sealed, self.messages())).SerializeToString()

    def _fill(  # noqa: PLR0917 - an object's fields, given once
        self,
        messages: Mapping[str, pb.Entry],
        decoded: dict[str, Any],
        overlay: Overlay,
        overlaid: dict[str, Any],
        size: int,
        order: Collection[str] | None,
    ) -> None:
        """Set the fields: a dict that other versions share, and the differences from it.

        `decoded` and `overlaid` are the decoded values of these. `order` has the keys in order; with None, the first
        iteration finds it. It may be the dict itself, if its keys are in order.
        """
        self._messages = messages
        self._decoded = decoded
        self._overlay = overlay
        self._overlaid = overlaid
        self._size = size
        self._order = order
        # Without an overlay, the same dict is used.
        self.read_cache = {} if overlay else decoded

    def _message(self, key: str) -> pb.Entry:
        message = self.find(key)
        if message is None:
            raise KeyError(key)
        return message


def has_content(entry: pb.Entry) -> bool:
    """Return whether an entry is a secret with its content."""
    return entry.value.HasField("secret") and entry.value.secret.WhichOneof("plain") is not None


def sealed(entry: pb.Entry) -> pb.Entry:
    """Return an entry without the content of a secret."""
    if not entry.value.HasField("secret"):
        return entry
    return pb.Entry(key=entry.key, value=without_content(entry.value), origin_version=entry.origin_version)


def _merged(messages: Mapping[str, pb.Entry], overlay: Overlay) -> dict[str, pb.Entry]:
    """Lay changes over a map; keys that stay keep their places, new ones come last."""
    merged = dict(messages)
    for key, message in overlay.items():
        if message is None:
            merged.pop(key, None)
        else:
            merged[key] = message
    return merged


def _without(decoded: dict[str, Any], changes: Overlay) -> dict[str, Any]:
    for key in changes:
        decoded.pop(key, None)
    return decoded
