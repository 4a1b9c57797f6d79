"""One value: message <-> record."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import Reason
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


def from_message(path: str, message: pb.Value, checker: Checker) -> Value:
    """Decode a value, check it, and bring it into canonical form."""
    kind = message.WhichOneof("kind")
    if kind is None:
        checker.refuse(Reason.BAD_VALUE, path, "has no kind; set exactly one")
        return Value.of_null()
    if kind == "secret":
        checker.refuse(Reason.BAD_VALUE, path, "is a secret, which this server does not keep yet")
        return Value.of_null()
    data = getattr(message, kind)
    if kind == "null":
        if data != NULL_VALUE:
            checker.refuse(Reason.BAD_VALUE, f"{path}.null", f"{data} is not NULL_VALUE")
        return Value.of_null()
    try:
        value = _MAKERS[kind](data)
    except BadValueError as error:
        checker.refuse(Reason.BAD_VALUE, f"{path}.{kind}", str(error))
        return Value.of_null()
    checker.value_size(path, kind, value)
    return value


def of_message(message: pb.Value) -> Value:
    """Decode a value that this module has encoded, so that it is canonical already."""
    kind = message.WhichOneof("kind")
    assert kind is not None
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
    else:
        setattr(message, _FIELDS[value.kind], value.data)
