"""The schema of `_lamina/access`: what a map must be, and who is left to change it."""

import json
from typing import Any

import pytest

from lamina_server.domain import access_checks, access_map
from lamina_server.domain.access import Access, Caller, Role, Token
from lamina_server.domain.errors import InvalidError, Reason
from lamina_server.domain.planning import Author
from lamina_server.domain.records import Change
from lamina_server.domain.values import Value

SHA256 = "ab" * 32
NOW_US = 1_800_000_000_000_000
PAST, FUTURE = "2020-01-01T00:00:00Z", "2040-01-01T00:00:00+02:00"
ISSUER = {"url": "https://id.example", "audience": "lamina", "algorithm": "RS256", "jwks": "https://id.example/keys"}
ADMIN = {"tokens/aaaa": {"name": "ada", "sha256": SHA256}, "grants/token:ada **": {"role": "admin"}}


def values(items: dict[str, Any]) -> dict[str, Value]:
    return {key: Value.of_json(json.dumps(item)) for key, item in items.items()}


def changes(items: dict[str, Any]) -> list[Change]:
    return [Change(key, None if item is None else Value.of_json(json.dumps(item))) for key, item in items.items()]


def test_a_map_of_all_kinds_is_read() -> None:
    access = access_map.read(
        values(
            {
                **ADMIN,
                "tokens/bbbb": {"name": "deployer", "sha256": SHA256, "expires": FUTURE},
                "grants/group:platform payments/**": {"role": "writer", "reveal": True},
                "groups/platform": ["token:deployer", "cert:spiffe://corp/shop"],
                "issuers/corp": {**ISSUER, "groups": "groups", "prefix": "corp/"},
                "limits/token:deployer": {"calls_per_second": 100},
            }
        ),
        version=7,
    )
    deployer = Caller("token:deployer", frozenset(), Author("token:deployer"))
    assert access.version == 7
    assert access.rights(deployer, "payments/prod").role is Role.WRITER
    assert access.rights(deployer, "payments/prod").reveal
    assert access.issuers["https://id.example"].prefix == "corp/"
    assert access.limits["token:deployer"].calls_per_second == 100


@pytest.mark.parametrize(
    ("key", "item", "says"),
    [
        ("users/ada", {}, "its keys begin with tokens/, grants/, groups/, issuers/, limits/"),
        ("tokens", {}, "its keys begin with tokens/"),
        ("tokens/A", {"name": "ada", "sha256": SHA256}, "`lamina token create` makes one"),
        ("tokens/aaaa", {"name": "ada"}, "has no 'sha256', which it needs"),
        ("tokens/aaaa", {"name": "ada", "sha256": "AB" * 32}, "64 hexadecimal digits"),
        ("tokens/aaaa", {"name": "a b", "sha256": SHA256}, "letters, digits"),
        ("tokens/aaaa", {"name": "ada", "sha256": SHA256, "expires": "2027-01-01"}, "no time with a zone"),
        ("tokens/aaaa", {"name": "ada", "sha256": SHA256, "secret": "canary"}, "it may have name, sha256, expires"),
        ("grants/token:ada", {"role": "admin"}, "write grants/SUBJECT PATTERN"),
        ("grants/ada shop/**", {"role": "admin"}, "write grants/SUBJECT PATTERN"),
        ("grants/token:ada shop/***", {"role": "admin"}, "a config's name, with '*' and '**' as wildcards"),
        ("grants/token:ada shop/**", {"role": "owner"}, "none of reader, writer, admin"),
        ("grants/token:ada shop/**", {"role": "admin", "reveal": "yes"}, "that is not true or false"),
        ("grants/token:ada shop/**", "admin", "must be JSON"),
        (f"grants/token:{'a' * 200} **", {"role": "admin"}, "the limit is 200 bytes"),
        ("groups/platform", ["group:other"], "must be a list of principals"),
        ("groups/a b", [], "has a bad name"),
        ("issuers/corp", {**ISSUER, "algorithm": "HS256"}, "none of RS256"),
        ("issuers/corp", {**ISSUER, "jwks": "http://id.example/keys"}, "an https: URL"),
        ("limits/deployer", {"watches": 1}, "write limits/PRINCIPAL"),
        ("limits/token:ada", {"watches": 0}, "less than 1"),
    ],
)
def test_a_bad_key_is_named_with_what_would_do(key: str, item: Any, says: str) -> None:
    value = Value.of_string(item) if isinstance(item, str) else Value.of_json(json.dumps(item))
    with pytest.raises(InvalidError) as raised:
        access_map.read({key: value})
    assert raised.value.reason is Reason.BAD_VALUE
    assert [violation.field for violation in raised.value.violations] == [key]
    assert says in raised.value.violations[0].description
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("issuers", "wrong"),
    [
        ({"a": {}, "b": {"prefix": "b/"}}, ["issuers/a", "issuers/b"]),
        ({"a": {"prefix": "x/"}, "b": {"url": "https://b.example", "prefix": "x/"}}, ["issuers/b"]),
        ({"a": {}, "b": {"url": "https://b.example", "prefix": "b/"}}, ["issuers/a"]),
    ],
    ids=["one url", "one prefix", "no prefix"],
)
def test_issuers_whose_persons_could_be_confused(issuers: dict[str, Any], wrong: list[str]) -> None:
    given = values({f"issuers/{name}": {**ISSUER, **item} for name, item in issuers.items()})
    with pytest.raises(InvalidError) as raised:
        access_map.read(given)
    assert [violation.field for violation in raised.value.violations] == wrong
    assert access_map.salvage(given)[1] == tuple(wrong)


ADMIN_LOST = [
    {"tokens/aaaa": None},
    {"grants/token:ada **": None},
    {"grants/token:ada **": {"role": "writer"}},
    {"grants/token:ada **": None, "grants/token:ada shop/**": {"role": "admin"}},
    {"grants/token:ada **": None, "grants/token:nobody **": {"role": "admin"}},
    {"grants/token:ada **": None, "grants/group:platform **": {"role": "admin"}},
    {"grants/token:ada **": None, "grants/oidc:ada@corp.example **": {"role": "admin"}},
    {
        "grants/token:ada **": None,
        "grants/oidc:other/ada **": {"role": "admin"},
        "issuers/corp": {**ISSUER, "prefix": "corp/"},
    },
    {"tokens/aaaa": {"name": "ada", "sha256": SHA256, "expires": PAST}},
    {  # the group is listed, so no claim makes anybody a member
        "grants/token:ada **": None,
        "grants/group:platform **": {"role": "admin"},
        "groups/platform": [],
        "issuers/corp": {**ISSUER, "groups": "groups"},
    },
]


@pytest.mark.parametrize("lost", ADMIN_LOST)
def test_the_last_admin_stays(lost: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="would leave no admin of _lamina/access, which is now 'token:ada'"):
        access_checks.check(values(ADMIN), changes(lost), NOW_US)
    access_checks.check(
        {}, [change for change in changes(lost) if change.value is not None], NOW_US
    )  # there never was one


@pytest.mark.parametrize(
    "kept",
    [
        {"tokens/aaaa": None, "tokens/bbbb": {"name": "ada", "sha256": SHA256, "expires": FUTURE}},
        {"grants/token:ada **": None, "grants/token:ada _lamina/*": {"role": "admin"}},
        {"grants/token:ada **": None, "grants/cert:spiffe://corp/ada **": {"role": "admin"}},
        {
            "grants/token:ada **": None,
            "grants/group:platform **": {"role": "admin"},
            "groups/platform": ["oidc:grace", "token:ada"],
        },
        {
            "grants/token:ada **": None,
            "grants/oidc:corp/ada **": {"role": "admin"},
            "issuers/corp": {**ISSUER, "prefix": "corp/"},
        },
        {
            "grants/token:ada **": None,
            "grants/group:corp/platform **": {"role": "admin"},
            "issuers/corp": {**ISSUER, "prefix": "corp/", "groups": "groups"},
        },
    ],
)
def test_an_admin_may_be_replaced(kept: dict[str, Any]) -> None:
    access_checks.check(values(ADMIN), changes(kept), NOW_US)


def test_an_admin_whose_token_has_expired_protects_nobody() -> None:
    expired = values({**ADMIN, "tokens/aaaa": {"name": "ada", "sha256": SHA256, "expires": PAST}})
    access = access_map.read(expired)
    assert access_checks.admins(access) == {"token:ada"}
    assert access_checks.admins(access, NOW_US) == frozenset()
    access_checks.check(expired, changes({"grants/token:ada **": None}), NOW_US)


def test_a_map_that_cannot_be_read_is_mended_by_a_change() -> None:
    broken = {**values(ADMIN), "users/ada": Value.of_string("?"), "tokens/bbbb": Value.of_null()}
    with pytest.raises(InvalidError, match="tokens/bbbb"):
        access_checks.check(broken, changes({"users/ada": None}), NOW_US)
    access_checks.check(broken, changes({"users/ada": None, "tokens/bbbb": None}), NOW_US)
    with pytest.raises(InvalidError, match="no admin"):
        access_checks.check(broken, changes({"users/ada": None, "tokens/bbbb": None, "tokens/aaaa": None}), NOW_US)


def test_a_new_admin_leaves_out_what_is_wrong_and_the_old_tokens_of_its_name() -> None:
    others = {
        "tokens/bbbb": {"name": "deployer", "sha256": SHA256},
        "grants/token:deployer shop/**": {"role": "reader"},
    }
    old = {"tokens/cccc": {"name": "admin", "sha256": SHA256}, "grants/token:admin shop/**": {"role": "reader"}}
    broken = {**values({**others, **old}), "users/ada": Value.of_string("?")}
    made = access_checks.admin_changes(broken, "token:admin", Token("dddd", "admin", b"\1" * 32))
    assert sorted(change.key for change in made if change.value is None) == ["tokens/cccc", "users/ada"]
    access_checks.check(broken, made, NOW_US)
    whole = {**broken, **{change.key: change.value for change in made}}
    access = access_map.read({key: value for key, value in whole.items() if value is not None})
    assert isinstance(access, Access)
    assert access_checks.admins(access) == {"token:admin"}
    assert sorted(access.tokens) == ["bbbb", "dddd"]
    assert len(access.grants) == 3


@pytest.mark.parametrize("principal", ["cert:spiffe://corp/ops", "oidc:corp/ada", "token:deployer", "group:corp/ops"])
def test_a_principal_becomes_an_admin(principal: str) -> None:
    old = {
        "tokens/bbbb": {"name": "deployer", "sha256": SHA256},
        "issuers/corp": {**ISSUER, "prefix": "corp/", "groups": "groups"},
    }
    made = access_checks.admin_changes({**values(old), "users/ada": Value.of_string("?")}, principal)
    assert [change.key for change in made] == ["users/ada", f"grants/{principal} **"]


@pytest.mark.parametrize("principal", ["token:nobody", "oidc:ada", "group:nobody", "ada", ""])
def test_nobody_becomes_no_admin(principal: str) -> None:
    with pytest.raises(InvalidError, match=r"SUBJECT PATTERN|names nobody who can call"):
        access_checks.admin_changes({}, principal)
