"""The form of maps in memory: the bytes of a reply's parts."""

from collections.abc import Sequence

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.records import Entry, Version
from lamina_server.wire import encode
from lamina_server.wire.values import of_message


class WireCodec:
    """The Codec of maps in memory. Each part is encoded as a ConfigVersion of its own; joined, they are one message."""

    def encode_entry(self, entry: Entry) -> bytes:
        """Encode an entry."""
        return encode.entry(entry)

    def decode_entry(self, encoded: bytes) -> Entry:
        """Decode an entry."""
        message = pb.Entry.FromString(encode.payload(encoded))
        return Entry(message.key, of_message(message.value), message.origin_version)

    def encode_header(self, version: Version, keys: Sequence[str]) -> bytes:
        """Encode a version's header."""
        return encode.version(version, keys)
