"""One value: message <-> record."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import Reason
from lamina_server.domain.secrets import Content
from lamina_server.domain.values import BadValueError, Kind, Value
from lamina_server.wire.validation import Checker

_FIELDS = {
    Kind.BOOLEAN: "bool",
    Kind.INTEGER: "int64",
    Kind.FLOAT: "double",
    Kind.STRING: "string",
    Kind.BYTES: "bytes",
    Kind.JSON: "json",
}
_KINDS = {field: kind for kind, field in _FIELDS.items()}
_NULL = Value.of_null()
_MAKERS: Mapping[str, Callable[[Any], Value]] = {
    "bool": Value.of_boolean,
    "int64": Value.of_integer,
    "double": Value.of_float,
    "string": Value.of_string,
    "bytes": Value.of_bytes,
    "json": Value.of_json,
}


_SEALED_MORE_BYTES = 64
"""How much larger a sealed value may be than what is inside."""


def from_message(path: str, message: pb.Value, checker: Checker) -> Value | Content:
    """Decode a value, check it, and bring it into canonical form. A secret that is still to be sealed is a Content."""
    kind = message.WhichOneof("kind")
    if kind is None:
        checker.refuse(Reason.BAD_VALUE, path, "has no kind; set exactly one")
        return Value.of_null()
    if kind == "secret":
        return _secret(f"{path}.secret", message.secret, checker)
    data = getattr(message, kind)
    if kind == "null":
        if data != NULL_VALUE:
            checker.refuse(Reason.BAD_VALUE, f"{path}.null", f"{data} is not NULL_VALUE")
        return Value.of_null()
    return _made(path, kind, data, checker)


def _made(path: str, kind: str, data: Any, checker: Checker) -> Value:
    try:
        value = _MAKERS[kind](data)
    except BadValueError as error:
        checker.refuse(Reason.BAD_VALUE, f"{path}.{kind}", str(error))
        return _NULL
    checker.value_size(path, kind, value)
    return value


def _secret(path: str, message: pb.Secret, checker: Checker) -> Value | Content:
    plain = message.WhichOneof("plain")
    if bool(message.sealed) == (plain is not None):
        what = "has sealed and plain bytes" if plain else "has no content"
        checker.refuse(Reason.BAD_VALUE, path, f"{what}: set either sealed or one of string, bytes and json")
        return _NULL
    if plain is not None:
        return Content.of(_made(path, plain, getattr(message, plain), checker))
    value = Value.of_secret(message.sealed)
    checker.value_size(path, "sealed", value, more_bytes=_SEALED_MORE_BYTES)
    return value


def of_message(message: pb.Value) -> Value:
    """Decode a value that this module has encoded, so that it is canonical already."""
    kind = message.WhichOneof("kind")
    assert kind is not None
    if kind == "secret":
        return Value.of_secret(message.secret.sealed)
    return _NULL if kind == "null" else Value(_KINDS[kind], getattr(message, kind))


def to_message(value: Value) -> pb.Value:
    """Encode a value."""
    message = pb.Value()
    write(value, message)
    return message


def write(value: Value, message: pb.Value) -> None:
    """Encode a value into its field of another message, which saves a copy."""
    if value.kind is Kind.NULL:
        message.null = NULL_VALUE
    elif value.kind is Kind.SECRET:
        message.secret.sealed = value.data  # type: ignore[assignment]  # of this kind, it is bytes
    else:
        setattr(message, _FIELDS[value.kind], value.data)
