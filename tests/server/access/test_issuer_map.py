"""What the key of an issuer in `_lamina/access` may say about where its keys are."""

import json

import pytest

from lamina_server.domain import access_map
from lamina_server.domain.errors import InvalidError
from lamina_server.domain.values import Value


def read(jwks: str) -> None:
    issuer = {"url": "https://id.example", "audience": "lamina", "algorithm": "RS256", "jwks": jwks}
    access_map.read({"issuers/corp": Value.of_json(json.dumps(issuer))})


@pytest.mark.parametrize(
    "jwks",
    [
        "https://id.example/keys?a=1",
        "https://id.example:8443",
        "http://localhost:8080/keys",
        "http://[::1]/keys",
        "file:///etc/lamina/keys.json",
    ],
)
def test_keys_come_by_https_or_from_this_machine(jwks: str) -> None:
    read(jwks)


@pytest.mark.parametrize(
    "jwks",
    [
        "http://id.example/keys",
        "http://127.0.0.1.id.example/keys",
        "https://ada:c4n4ry@id.example/keys",
        "https://id.example:99999/keys",
        "https://id.example:x/keys",
        "https:///keys",
        "https://id.example/a b",
        "https://id.example/\r\nHost: other",
        "https://é.example/keys",
        "ftp://id.example/keys",
        "file://host/keys",
        "/etc/keys",
        "id.example",
    ],
)
def test_other_places_are_refused_in_words(jwks: str) -> None:
    with pytest.raises(InvalidError, match="needs in 'jwks' an https: URL") as caught:
        read(jwks)
    assert "c4n4ry" not in str(caught.value)
