"""Values: their types, when two are equal, and their wire format; it knows neither configs nor gRPC.

The server has code of its own for the same rules (`domain/values.py`), on purpose: a client that used the server's
would prove nothing when it verifies a hash. Tests of both read the same examples, protos/vectors.json.

A value is kept as `Stored`: a kind of the wire and the data in canonical form. Two values are equal if and only if both
are, so `True`, `1` and `1.0` are three values, and two equal dicts are equal however they were written. JSON, the kind
of lists and dicts, is canonical as text: names sorted by code point, no white space, no escapes that are not needed.

    encode({"b": 1, "a": [2.0]})  ->  Stored("json", '{"a":[2.0],"b":1}')
    decode(...)                   ->  FrozenDict({"a": FrozenList([2.0]), "b": 1})
"""

import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from google.protobuf.struct_pb2 import NullValue

from lamina._mapping.canonical import json_text, plain_scalar, plain_text, read_json
from lamina._mapping.frozen import is_dict, is_list
from lamina._mapping.secret import Absence, Secret, Source, check_movable, content_of, received, sealed_of
from lamina.errors import InvalidError, LaminaError
from lamina_protos.v1 import lamina_pb2 as pb

Value: TypeAlias = bool | int | float | str | bytes | list[Any] | dict[str, Any] | Secret | None
"""The types that a key can be set to. Lists and dicts hold these too, except bytes and secrets. The names in a dict are
text, and are read back in sorted order."""

Kind: TypeAlias = Literal["null", "bool", "int64", "double", "string", "bytes", "json", "secret"]

KEY_BYTES_LIMIT: Final = 512
"""The wire contract's; checked here so that a bad key fails where it is written."""

_UNKNOWN_KIND: Final = "the server sent a kind of value that this client does not know: upgrade it"


@dataclass(frozen=True, slots=True)
class Stored:
    """One value in canonical form."""

    kind: Kind
    data: bool | int | float | str | bytes | Secret | None

    def __repr__(self) -> str:
        return f"<Stored {self.kind}>"  # the data may be confidential, and reprs end in logs


def encode(value: object, *, key: str, config: str | None = None) -> Stored:
    """Check, copy and canonicalise a value for `key`, to be set in `config`, or only to be compared.

    TypeError for an unsupported type, InvalidError for a number, text or depth that the wire cannot hold, and for a
    secret without its content that was read elsewhere.
    """
    if isinstance(value, Secret):
        if config is not None:
            check_movable(value, config, key)
        return Stored("secret", value)
    if is_list(value) or is_dict(value):
        return Stored("json", json_text(value, f"the value of {key!r}"))
    if isinstance(value, bytes):
        return Stored("bytes", bytes(value))
    scalar = plain_scalar(value, f"the value of {key!r}")
    return Stored(_SCALAR_KINDS[type(scalar)], scalar)


def decode(stored: Stored) -> Any:
    """Return the value as users read it: lists and dicts read-only."""
    return read_json(cast("str", stored.data)) if stored.kind == "json" else stored.data


def load(message: pb.Value, key: str = "", source: Source | None = None) -> Stored:
    """Return a value of the wire in canonical form. The server keeps and sends only canonical forms.

    A secret remembers its key and source, for errors. Without these, it is for comparing and hashing.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise LaminaError(_UNKNOWN_KIND)
    if kind == "secret":
        return Stored(kind, _secret(message.secret, key, source))
    return Stored(kind, None if kind == "null" else getattr(message, kind))


def read(message: pb.Value, key: str, source: Source) -> Any:
    """Return a value of the wire as users read it: `decode(load(message))` without the object in between."""
    text = message.string
    if text:
        return text  # most values are text, and this calls protobuf once
    kind = message.WhichOneof("kind")
    if kind == "json":
        return read_json(message.json)
    if kind == "secret":
        return _secret(message.secret, key, source)
    if kind is None:
        raise LaminaError(_UNKNOWN_KIND)
    return None if kind == "null" else getattr(message, kind)


def dump(stored: Stored) -> pb.Value:
    """Make the value's message for a request. Of a secret it has the content, or else the sealed bytes."""
    if stored.kind == "null":
        return pb.Value(null=NullValue.NULL_VALUE)
    if isinstance(stored.data, Secret):
        content = content_of(stored.data)
        kind, data = content or ("sealed", sealed_of(stored.data))
        known: dict[str, Any] = {kind: data}
        return pb.Value(secret=pb.Secret(**known))
    return pb.Value(**{stored.kind: stored.data})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def without_content(value: pb.Value) -> pb.Value:
    """Return a value of the wire without the content of a secret."""
    if not value.HasField("secret"):
        return value
    return pb.Value(secret=pb.Secret(sealed=value.secret.sealed))


def check_key(key: object) -> str:
    """Return the key as plain text; TypeError if it is no text, InvalidError with the limit if it is bad."""
    if not isinstance(key, str):
        raise TypeError(f"keys are text, not {type(key).__name__}")
    key = str.__str__(key)
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidError(f"the key {key!r} holds a lone surrogate", reason="BAD_KEY") from None
    if not 0 < size <= KEY_BYTES_LIMIT:
        shown = f"{key[:40]!r}..." if size else "''"
        raise InvalidError(f"a key has 1 to {KEY_BYTES_LIMIT} bytes, {shown} has {size}", reason="BAD_KEY")
    if not key.isprintable() and any(unicodedata.category(character) == "Cc" for character in key):
        raise InvalidError(f"the key {key!r} holds a control character", reason="BAD_KEY")
    if not unicodedata.is_normalized("NFC", key):
        raise InvalidError(f"the key {key!r} is not in Unicode normal form C: normalise it", reason="BAD_KEY")
    return key


def check_text(text: object, what: str) -> str:
    """Return a name or message as plain text. TypeError if it is no text, InvalidError if UTF-8 cannot hold it."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is text, not {type(text).__name__}")
    return plain_text(text, what, reason="BAD_REQUEST")


_SCALAR_KINDS: Final[dict[type, Kind]] = {
    type(None): "null",
    bool: "bool",
    int: "int64",
    float: "double",
    str: "string",
}


def _secret(message: pb.Secret, key: str, source: Source | None) -> Secret:
    text = message.string
    if text:
        return received(message.sealed, "string", text, key, source)  # most are text: see `read`
    kind = message.WhichOneof("plain")
    if kind is None and source is not None and message.unavailable:
        source = source._replace(absence=Absence.UNAVAILABLE, reason=message.unavailable)
    return received(message.sealed, kind, getattr(message, kind) if kind else b"", key, source)
