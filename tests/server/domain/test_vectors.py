"""Canonical values, digests and hashes against the examples that the SDK's tests read, too."""

from collections.abc import Callable
from typing import Any

import pytest

from lamina_server.domain.hashing import value_digest, version_hash
from lamina_server.domain.records import Source
from lamina_server.domain.values import Value
from tests.support.vectors import SECRETS, VALUES, VERSIONS, named

MAKERS: dict[str, Callable[[Any], Value | None]] = {
    "DELETED": lambda _value: None,
    "NULL": lambda _value: Value.of_null(),
    "BOOLEAN": Value.of_boolean,
    "INTEGER": Value.of_integer,
    "FLOAT": Value.of_float,
    "STRING": Value.of_string,
    "BYTES": lambda value: Value.of_bytes(bytes.fromhex(value)),
    "JSON": Value.of_json,
    "SECRET": lambda value: Value.of_secret(bytes.fromhex(value)),
}


def value_of(vector: dict[str, Any]) -> Value | None:
    return MAKERS[vector["kind"]](vector["value"])


@pytest.mark.parametrize("vector", [*VALUES, *SECRETS], ids=named)
def test_a_value_has_these_canonical_bytes_and_this_digest(vector: dict[str, Any]) -> None:
    value = value_of(vector)
    assert value is not None
    assert (value.kind.name, value.canonical.hex()) == (vector["kind"], vector["canonical"])
    assert value_digest("payments/prod", 1, "x", value).hex() == vector["digest"]


@pytest.mark.parametrize("vector", VERSIONS, ids=named)
def test_a_version_has_this_hash(vector: dict[str, Any]) -> None:
    config, number, source = vector["config"], vector["version"], vector["source"]
    digests = [value_digest(config, number, change["key"], value_of(change)) for change in vector["changes"]]
    assert [digest.hex() for digest in digests] == [change["digest"] for change in vector["changes"]]
    made = version_hash(
        parent_hash=bytes.fromhex(vector["parent_hash"]),
        config=config,
        number=number,
        author=vector["author"],
        author_verified=vector["author_verified"],
        message=vector["message"],
        commit_time_us=vector["commit_time_us"],
        key_count=vector["key_count"],
        source=source and Source(source["config"], source["version"], bytes.fromhex(source["hash"])),
        digests=digests,
    )
    assert made.hex() == vector["hash"]
