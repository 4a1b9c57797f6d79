"""Canonical values, digests and hashes, compared with the examples that the server's tests use too."""

import json
from typing import Any

import pytest

from lamina._mapping.values import Stored, encode
from lamina._wire.hashing import value_digest, version_hash
from lamina.records import MISSING, Missing
from lamina_protos.v1 import lamina_pb2 as pb
from tests.support.vectors import VALUES, VERSIONS, named


def value_of(vector: dict[str, Any]) -> Any:
    """Make the value as a user would write it."""
    match vector["kind"]:
        case "BYTES":
            return bytes.fromhex(vector["value"])
        case "JSON":
            return json.loads(vector["value"])
        case _:
            return vector["value"]


def stored(vector: dict[str, Any]) -> Stored | Missing:
    return MISSING if vector["kind"] == "DELETED" else encode(value_of(vector), key=vector.get("key", "x"))


@pytest.mark.parametrize("vector", VALUES, ids=named)
def test_a_value_has_this_canonical_form_and_this_digest(vector: dict[str, Any]) -> None:
    value = stored(vector)
    assert isinstance(value, Stored)
    if isinstance(value.data, str):
        assert value.data.encode().hex() == vector["canonical"]
    assert value_digest("payments/prod", 1, "x", value).hex() == vector["digest"]


@pytest.mark.parametrize("vector", VERSIONS, ids=named)
def test_a_version_has_this_hash(vector: dict[str, Any]) -> None:
    config, number = vector["config"], vector["version"]
    digests = [value_digest(config, number, change["key"], stored(change)) for change in vector["changes"]]
    assert [digest.hex() for digest in digests] == [change["digest"] for change in vector["changes"]]
    header = pb.ConfigVersion(
        config=config,
        version=number,
        author=vector["author"],
        author_verified=vector["author_verified"],
        message=vector["message"],
        key_count=vector["key_count"],
    )
    header.commit_time.FromMicroseconds(vector["commit_time_us"])
    if vector["source"]:
        header.source_config, header.source_version = vector["source"]["config"], vector["source"]["version"]
        header.source_hash = bytes.fromhex(vector["source"]["hash"])
    assert version_hash(header, bytes.fromhex(vector["parent_hash"]), digests).hex() == vector["hash"]
