"""Which tokens of identity providers are valid, and whom they name."""

import base64
import hashlib
import hmac
import json
import math
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lamina_server.access import jwts
from lamina_server.domain.access import Caller, Issuer
from lamina_server.domain.errors import Reason, ServerError
from tests.security.provider import AUDIENCE, PrivateKey, document, jwk, public_pem, rsa_key

URL = "https://id.corp.example"
KEY, OTHER = rsa_key(0), rsa_key(1)
ISSUER = Issuer("corp", URL, AUDIENCE, "RS256", "https://id.corp.example/keys", groups="groups")
NOW = int(time.time())
CLAIMS: dict[str, Any] = {"iss": URL, "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60, "jti": "c4n4ry-of-a-claim"}


def signed(
    key: Any = KEY, algorithm: str | None = "RS256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    claims = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers)


def caller(text: str, issuer: Issuer = ISSUER, now: float = NOW, key: PrivateKey = KEY) -> Caller:
    found = jwts.keys(document(jwk(key, None)), issuer.algorithm)
    return jwts.verify(jwts.parse(text), issuer, found[None], int(now * 1_000_000))


def refused(text: str, issuer: Issuer = ISSUER, now: float = NOW) -> str:
    with pytest.raises(ServerError) as caught:
        caller(text, issuer, now)
    assert caught.value.reason is Reason.BAD_CREDENTIALS
    assert caught.value.__cause__ is None
    assert not any(len(part) > 4 and part in str(caught.value) for part in (*text.split("."), CLAIMS["jti"], "evil"))
    return str(caught.value)


def raw(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def issuer(**fields: Any) -> Issuer:
    own = {name: getattr(ISSUER, name) for name in Issuer.__slots__}  # type: ignore[attr-defined]
    return Issuer(**{**own, **fields})


class TestWho:
    def test_a_token_names_a_person_with_groups_until_it_expires(self) -> None:
        found = caller(signed(groups=["platform", "shop"]))
        assert found.principal == found.author.name == "oidc:ada"
        assert found.author.verified
        assert found.groups == {"group:platform", "group:shop"}
        assert found.expires_us == (NOW + 60) * 1_000_000

    def test_the_issuer_says_which_claims_count_and_what_precedes_them(self) -> None:
        found = caller(
            signed(email="ada@corp.example", roles=["eu"], groups=["no"]),
            issuer(person="email", groups="roles", prefix="corp/"),
        )
        assert (found.principal, found.groups) == ("oidc:corp/ada@corp.example", frozenset({"group:corp/eu"}))

    def test_groups_that_no_grant_can_name_are_left_out(self) -> None:
        found = caller(signed(groups=["Domain Users", "", "ok", "a\u200bb", "x" * 300, "\u00e9"]))
        assert found.groups == {"group:ok", "group:\u00e9"}
        assert caller(signed()).groups == frozenset()
        assert caller(signed(groups=["a"]), issuer(groups="")).groups == frozenset()

    @pytest.mark.parametrize("groups", ["platform", {"platform": 1}, ["a", 1], [["a"]], 7, True])
    def test_groups_of_another_type_are_refused(self, groups: Any) -> None:
        assert "no list of texts" in refused(signed(groups=groups))

    @pytest.mark.parametrize(
        "name", [None, "", " ", "a b", "a\n", "\0", "a\u00a0b", "\u202eada", "x" * 196, 7, True, ["ada"], {"a": 1}]
    )
    def test_a_person_has_a_name_that_is_a_plain_text(self, name: Any) -> None:
        assert "'upn' that is no caller's name" in refused(signed(upn=name), issuer(person="upn"))

    @pytest.mark.parametrize("verified", [False, None, "true", 1])
    def test_an_address_that_the_issuer_has_not_verified_is_no_name(self, verified: Any) -> None:
        text = jwt.encode({**CLAIMS, "email": "ada@x.example", "email_verified": verified}, KEY, "RS256")
        assert "not verified" in refused(text, issuer(person="email"))

    def test_a_sub_that_is_no_text_is_refused(self) -> None:
        text = raw({"alg": "RS256"}, {**CLAIMS, "sub": 7})
        signature = jwt.get_algorithm_by_name("RS256").sign(text.rsplit(".", 1)[0].encode(), KEY)
        signed_text = text + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        assert "malformed" in refused(signed_text)


class TestFlaws:
    """Test 6: tokens with each flaw are refused, and the refusal repeats nothing of them."""

    @pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
    def test_no_signature(self, algorithm: str) -> None:
        assert "another algorithm" in refused(raw({"alg": algorithm, "typ": "JWT"}, CLAIMS))

    def test_hs256_by_the_public_key(self) -> None:
        start = raw({"alg": "HS256", "typ": "JWT"}, CLAIMS).rsplit(".", 1)[0]
        for secret in (public_pem(KEY), json.dumps(jwk(KEY, None)).encode()):
            code = hmac.digest(secret, start.encode(), hashlib.sha256)
            assert "another algorithm" in refused(f"{start}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}")

    @pytest.mark.parametrize("algorithm", ["RS384", "PS256"])
    def test_another_algorithm_of_the_same_key(self, algorithm: str) -> None:
        assert "another algorithm" in refused(signed(algorithm=algorithm))

    def test_another_key(self) -> None:
        assert "signature" in refused(signed(OTHER))

    @pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
    def test_keys_that_the_token_brings_count_for_nothing(self, header: str) -> None:
        brought = {"jku": "https://evil.example/keys", "x5u": "https://evil.example/x", "x5c": ["AAAA"]}
        value = brought.get(header, jwk(OTHER, None))
        assert "signature" in refused(signed(OTHER, headers={header: value}))
        assert caller(signed(headers={header: value})).principal == "oidc:ada"

    def test_a_header_that_must_be_understood(self) -> None:
        cases: list[dict[str, Any]] = [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": "b64", "b64": True}]
        for headers in cases:
            with pytest.raises(ServerError, match="malformed"):
                jwts.parse(raw({"alg": "RS256", **headers}, CLAIMS))

    @pytest.mark.parametrize("claim", ["exp", "aud", "iss"])
    def test_a_claim_is_missing(self, claim: str) -> None:
        assert f"{claim}" in refused(signed(**{claim: None}))

    @pytest.mark.parametrize("audience", ["other", ["other"], "", [], "lamina2", ["LAMINA"], "lam", {"lamina": 1}, 7])
    def test_another_audience(self, audience: Any) -> None:
        refused(signed(aud=audience))

    def test_one_of_several_audiences(self) -> None:
        assert caller(signed(aud=["other", AUDIENCE])).principal == "oidc:ada"

    def test_another_issuer(self) -> None:
        with pytest.raises(ServerError, match="malformed"):
            caller(signed(), issuer(url=f"{URL}/"))

    @pytest.mark.parametrize("time", ["2030-01-01", "2524608000", True, [], math.nan, math.inf, -1, 10**20, 10**400])
    def test_an_end_that_is_no_time(self, time: Any) -> None:
        assert "(exp)" in refused(signed(exp=time))

    def test_the_end_has_no_leeway(self) -> None:
        text = signed(exp=NOW + 0.5)
        assert caller(text, now=NOW + 0.499).expires_us == NOW * 1_000_000 + 500_000
        assert "expired" in refused(text, now=NOW + 0.5)

    @pytest.mark.parametrize("claim", ["nbf", "iat"])
    def test_the_beginning_has_a_leeway_of_30_seconds(self, claim: str) -> None:
        def beginning(at: Any) -> str:
            claims: dict[str, Any] = {claim: at}
            return signed(**claims)

        assert caller(beginning(NOW + 30)).principal == "oidc:ada"
        assert f"not valid yet ({claim})" in refused(beginning(NOW + 31))
        assert "that is none" in refused(beginning("soon"))

    @pytest.mark.parametrize(
        "text",
        [
            "..",
            "a.b.c",
            "e30.e30.",
            raw({"alg": "RS256"}, CLAIMS) + "=",
            signed() + "\n",
            signed()[:-1],
            raw({"alg": "RS256", "kid": 7}, CLAIMS),
            raw({"alg": "RS256", "kid": None}, CLAIMS),
            raw({"alg": ["RS256"]}, CLAIMS),
            ".".join([base64.urlsafe_b64encode(b"[" * 4_000).decode().rstrip("=")] * 3),
            "eyJhbGciOiJSUzI1NiJ9." + base64.urlsafe_b64encode(b"1" * 5_000).decode().rstrip("=") + ".AAAA",
            "eyJhbGciOiJSUzI1NiJ9." + base64.urlsafe_b64encode(b'{"iss":' + b"[" * 9_000).decode().rstrip("=") + ".A",
            "\udcff.\udcff.\udcff",
            "é.é.é",
        ],
    )
    def test_what_is_no_token(self, text: str) -> None:
        refused(text)


class TestKeys:
    def test_keys_are_found_by_their_ids(self) -> None:
        found = jwts.keys(document(jwk(KEY, "a"), jwk(OTHER, "b")), "RS256")
        assert set(found) == {"a", "b"}
        assert set(jwts.keys(document(jwk(KEY, "a")), "RS256")) == {"a", None}
        assert set(jwts.keys(document(jwk(KEY, "a"), jwk(KEY, "a")), "RS256")) == {"a"}

    def test_of_two_keys_with_one_id_neither_counts(self) -> None:
        found = jwts.keys(document(jwk(KEY, "a"), jwk(OTHER, "a"), jwk(OTHER, "b")), "RS256")
        assert set(found) == {"b"}
        with pytest.raises(jwts.KeysError, match="several with one id"):
            jwts.keys(document(jwk(KEY, "a"), jwk(OTHER, "a")), "RS256")

    @pytest.mark.parametrize(
        "bad",
        [
            jwk(OTHER, "b", use="enc"),
            jwk(OTHER, "b", alg="RS512"),
            jwk(OTHER, "b", key_ops=["sign"]),
            jwk(OTHER, "b", key_ops="verify"),
            jwk(ec.generate_private_key(ec.SECP256R1()), "b"),
            {"kty": "oct", "k": "AAAA", "kid": "b"},
            {**jwk(OTHER, "b"), "d": "AAAA"},
            {**jwk(OTHER, "b"), "n": 7},
            {**jwk(OTHER, "b"), "n": "!"},
            {**jwk(OTHER, "b"), "e": None},
            {"kty": "RSA", "kid": "b"},
            jwk(rsa_key(0, 1_024), "b"),
            {**jwk(OTHER, None), "kid": 7},
            {**jwk(OTHER, None), "kid": ["b"]},
            "b",
            None,
            [],
        ],
    )
    def test_keys_that_are_not_fit_are_left_out(self, bad: Any) -> None:
        assert set(jwts.keys(document(bad, jwk(KEY, "a")), "RS256")) == {"a", None}
        with pytest.raises(jwts.KeysError, match="none that is fit for RS256"):
            jwts.keys(document(bad), "RS256")

    def test_the_curve_is_the_one_of_the_algorithm(self) -> None:
        right, wrong = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
        assert set(jwts.keys(document(jwk(right, "a"), jwk(wrong, "b")), "ES256")) == {"a", None}
        assert caller(signed(right, "ES256"), issuer(algorithm="ES256"), key=right).principal == "oidc:ada"

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (b"<html>", "no JSON"),
            (b"", "no JSON"),
            (b"\xff\xfe", "no JSON"),
            (b"[" * 100_000, "no JSON"),
            (b"1" * 10_000, "no JSON"),
            (b"[]", "no JWKS"),
            (b"{}", "no JWKS"),
            (b'{"keys": {}}', "no JWKS"),
            (b'{"keys": []}', "none that is fit"),
        ],
    )
    def test_answers_that_are_no_keys(self, answer: bytes, says: str) -> None:
        with pytest.raises(jwts.KeysError, match=says):
            jwts.keys(answer, "RS256")
