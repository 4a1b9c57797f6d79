"""Every field of every method refuses what breaks its rule, with the contract's code and reason, and writes nothing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.handlers import SERVICE
from tests.server.bare_client import MEMORY_ONLY, Refusal, Wire, changes, refusal

CONFIG = "shop/prod"
INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
MIB = 1024 * 1024

GOOD: Mapping[str, Message] = {
    "Commit": pb.CommitRequest(config=CONFIG, changes=changes({"x": 1}), request_id="r", message="m", base_version=1),
    "GetVersion": pb.GetVersionRequest(config=CONFIG, keys=["x"], prefixes=["db/"], version=1, page_size=1),
    "ListVersions": pb.ListVersionsRequest(config=CONFIG, before_version=2),
    "DiffVersions": pb.DiffVersionsRequest(config=CONFIG, from_version=0, to_version=1),
    "GetKeyHistory": pb.GetKeyHistoryRequest(config=CONFIG, key="x"),
    "WatchKeyHistory": pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=0)),
    "RevertConfig": pb.RevertConfigRequest(config=CONFIG, to_version=0, base_version=1, request_id="r"),
    "ForkConfig": pb.ForkConfigRequest(source=CONFIG, target="shop/new", request_id="r"),
    "ListConfigs": pb.ListConfigsRequest(prefix="shop/"),
    "ListSecretKeys": pb.ListSecretKeysRequest(config=CONFIG),
    "GetServerInfo": pb.GetServerInfoRequest(),
    "WhoAmI": pb.WhoAmIRequest(),
    "CheckAccess": pb.CheckAccessRequest(principal="token:deployer", groups=["group:platform"], config=CONFIG),
}
"""A request of each method that is answered; each bad one below differs from it in one field."""


class Case(NamedTuple):
    """One bad field: how it is set, and how the request is then refused."""

    rpc: str
    field: str
    bad: Any
    reason: str
    says: tuple[str, ...] = ()
    code: grpc.StatusCode = INVALID
    path: str | None = None
    limit: tuple[int, int] | None = None


def names(rpc: str, field: str) -> Iterator[Case]:
    """Break the rules of a config's name."""
    for bad, says in [
        ("", ("0 bytes",)),
        ("/prod", ("segments", "none of them empty")),
        ("shop//prod", ("none of them empty",)),
        ("shop/", ("none of them empty",)),
        (".hidden", ("begin with a letter or digit",)),
        ("shop/prød", ("ASCII",)),
        ("shop prod", ("nothing but these",)),
        ("shop\n", ("nothing but these",)),
        ("a" * 256, ("256 bytes", "255 bytes")),
    ]:
        yield Case(rpc, field, bad, "BAD_CONFIG_NAME", says)


def keys(rpc: str, field: str, *, path: str | None = None, empty_too: bool = True) -> Iterator[Case]:
    """Break the rules of a key, or of what one may begin with."""
    if empty_too:
        yield Case(rpc, field, "", "BAD_KEY", ("0 bytes",), path=path)
    for bad, says in [
        ("k" * 513, ("513 bytes", "512 bytes")),
        ("é" * 257, ("514 bytes", "512 bytes")),
        ("e\u0301", ("normal form C",)),
        ("a\tb", ("U+0009", "position 1")),
        ("a\x00", ("U+0000",)),
        ("\x7f", ("U+007F",)),
        ("\x9b", ("U+009B",)),
    ]:
        yield Case(rpc, field, bad, "BAD_KEY", says, path=path)


def request_ids(rpc: str) -> Iterator[Case]:
    yield Case(rpc, "request_id", "", "BAD_REQUEST", ("0 bytes", "1 byte"))
    yield Case(rpc, "request_id", "r" * 129, "BAD_REQUEST", ("129 bytes", "128 bytes"))
    yield Case(rpc, "request_id", "ä" * 65, "BAD_REQUEST", ("130 bytes", "128 bytes"))
    yield Case(rpc, "request_id", "a\nb", "BAD_REQUEST", ("U+000A",))


def messages(rpc: str) -> Iterator[Case]:
    yield Case(rpc, "message", "m\x00", "BAD_REQUEST", ("U+0000", "position 1"))
    yield Case(rpc, "message", "m" * 4097, "TOO_LARGE", ("4,097 bytes", "4,096 bytes"), EXHAUSTED, limit=(4096, 4097))


def versions(rpc: str, *fields: str) -> Iterator[Case]:
    for field in fields:
        yield Case(rpc, field, -1, "BAD_REQUEST", ("-1 is negative",))
        yield Case(rpc, field, -(2**63), "BAD_REQUEST", ("is negative",))


def pages(rpc: str) -> Iterator[Case]:
    yield Case(rpc, "page_size", -1, "BAD_REQUEST", ("-1 is negative",))
    for token in ("not a token", "AAAA", "é", "QUJD" * 1000):
        yield Case(rpc, "page_token", token, "BAD_REQUEST", ("not a token of this request",))


def filters(rpc: str, *, with_keys: bool = True) -> Iterator[Case]:
    yield from keys(rpc, "prefixes", path="prefixes[0]", empty_too=False)
    too_many = ("1,001 keys and prefixes", "1,000 keys and prefixes")
    prefixes = [f"p{n}" for n in range(1001)]
    yield Case(rpc, "prefixes", prefixes[: 1001 - len(getattr(GOOD[rpc], "keys", ()))], "TOO_MANY", too_many, EXHAUSTED)
    if with_keys:
        yield from keys(rpc, "keys", path="keys[0]")
        count = 1001 - len(getattr(GOOD[rpc], "prefixes", ()))
        yield Case(rpc, "keys", prefixes[:count], "TOO_MANY", too_many, EXHAUSTED, limit=(1000, 1001))


def values() -> Iterator[Case]:
    """Break the rules of each kind of value."""
    infinity = float("inf")
    deep = "[" * 65 + "]" * 65
    for bad, kind, says in [
        (pb.Value(), "", ("no kind",)),
        (pb.Value(null=7), ".null", ("7 is not NULL_VALUE",)),  # type: ignore[arg-type]
        (pb.Value(double=float("nan")), ".double", ("nan is not a finite number",)),
        (pb.Value(double=infinity), ".double", ("inf is not a finite number",)),
        (pb.Value(double=-infinity), ".double", ("-inf is not a finite number",)),
        (pb.Value(string="a\x00b"), ".string", ("U+0000", "position 1")),
        (pb.Value(json=""), ".json", ("not JSON",)),
        (pb.Value(json="{"), ".json", ("not JSON",)),
        (pb.Value(json="1"), ".json", ("list or an object",)),
        (pb.Value(json='"text"'), ".json", ("list or an object",)),
        (pb.Value(json="[NaN]"), ".json", ("finite",)),
        (pb.Value(json="[Infinity]"), ".json", ("finite",)),
        (pb.Value(json="[1e999]"), ".json", ("finite",)),
        (pb.Value(json='{"a":1,"a":2}'), ".json", ("same name twice",)),
        (pb.Value(json=r'["\u0000"]'), ".json", ("U+0000",)),
        (pb.Value(json=r'["\ud800"]'), ".json", ("lone surrogate",)),
        (pb.Value(json=r'{"\udc00":1}'), ".json", ("lone surrogate",)),
        (pb.Value(json=deep), ".json", ("64 levels",)),
        (pb.Value(json="[" * 100_000), ".json", ("JSON",)),
        (pb.Value(json="[9223372036854775808]"), ".json", ("64 bits",)),
        (pb.Value(secret=pb.Secret()), ".secret", ("has no content",)),
        (pb.Value(secret=pb.Secret(sealed=b"s", string="t")), ".secret", ("sealed and plain",)),
        (pb.Value(secret=pb.Secret(string="a\x00b")), ".secret.string", ("U+0000", "position 1")),
        (pb.Value(secret=pb.Secret(json="[NaN]")), ".secret.json", ("finite",)),
    ]:
        change = [pb.Change(key="x", value=bad)]
        yield Case("Commit", "changes", change, "BAD_VALUE", says, path=f"changes[0].value{kind}")
    for large in (
        pb.Value(string="v" * (MIB + 1)),
        pb.Value(bytes=b"v" * (MIB + 1)),
        pb.Value(json=f'["{"v" * (MIB - 3)}"]'),
        pb.Value(secret=pb.Secret(bytes=b"v" * (MIB + 1))),
    ):
        says = ("1,048,577 bytes", "1,048,576 bytes")
        change = [pb.Change(key="x", value=large)]
        yield Case("Commit", "changes", change, "TOO_LARGE", says, EXHAUSTED, limit=(MIB, MIB + 1))


def commits() -> Iterator[Case]:
    """Break the rules of a commit's own fields."""
    yield Case("Commit", "changes", [], "BAD_REQUEST", ("is empty",))
    twice = [*changes({"x": 1, "y": 1}), pb.Change(key="x", deleted=True)]
    yield Case("Commit", "changes", twice, "BAD_REQUEST", ("changes[0] already",), path="changes[2].key")
    yield Case("Commit", "changes", [pb.Change(key="x")], "BAD_REQUEST", ("neither",), path="changes[0]")
    false = [pb.Change(key="x", deleted=False)]
    yield Case("Commit", "changes", false, "BAD_REQUEST", ("is false",), path="changes[0].deleted")
    for key in keys("Commit", "changes"):
        bad = [pb.Change(key="y", deleted=True), pb.Change(key=key.bad, deleted=True)]
        yield key._replace(bad=bad, path="changes[1].key")
    many = changes({f"k{n}": 1 for n in range(10_001)})
    yield Case(
        "Commit", "changes", many, "TOO_MANY", ("10,001 changes", "10,000 changes"), EXHAUSTED, limit=(10_000, 10_001)
    )
    read = [f"k{n}" for n in range(10_001)]
    yield Case("Commit", "read_keys", read, "TOO_MANY", ("10,001 read keys",), EXHAUSTED, limit=(10_000, 10_001))
    yield from keys("Commit", "read_keys", path="read_keys[0]")
    yield Case("Commit", "merge_policy", 77, "BAD_REQUEST", ("77 is not a MergePolicy",))
    yield Case("Commit", "changes_limit_bytes", -1, "BAD_REQUEST", ("-1 is negative",))
    # Nearly all of it in one message: the request is too large, whatever else it is.
    padding = "m" * (4 * MIB)
    yield Case("Commit", "message", padding, "TOO_LARGE", ("the request", "4,194,304 bytes"), EXHAUSTED)


def others() -> Iterator[Case]:
    yield Case("GetVersion", "view", 9, "BAD_REQUEST", ("9 is not a View",))
    for time in (
        Timestamp(seconds=-62_135_596_801),
        Timestamp(seconds=253_402_300_800),
        Timestamp(nanos=-1),
        Timestamp(nanos=1_000_000_000),
    ):
        yield Case("GetVersion", "time", time, "BAD_REQUEST", ("years 1 and 9999",))
    for interval, says in (
        (Duration(), "0 s is less than the limit of 1 s"),
        (Duration(nanos=999_000_000), "0.999 s is less than the limit of 1 s"),
        (Duration(seconds=-5), "-5 s is less than the limit of 1 s"),
        (Duration(nanos=2_000_000_000), "a second or more"),
    ):
        yield Case("WatchKeyHistory", "bookmark_interval", interval, "BAD_REQUEST", (says,))
    cursor = pb.Cursor(version=-1)
    yield Case("WatchKeyHistory", "after", cursor, "BAD_REQUEST", ("-1 is negative",), path="after.version")
    for field in ("to_version", "base_version"):
        yield Case("RevertConfig", field, None, "BAD_REQUEST", ("is required",))
    for prefix, says in (("/", "empty"), ("a//", "empty"), ("a b", "nothing but these"), ("a" * 256, "256 bytes")):
        yield Case("ListConfigs", "prefix", prefix, "BAD_CONFIG_NAME", (says,))
    for principal in ("", "deployer", "group:platform", "token:", "token:a b"):
        yield Case("CheckAccess", "principal", principal, "BAD_REQUEST", ("not the name of a principal",))
    for group in ("platform", "token:deployer"):
        yield Case("CheckAccess", "groups", group, "BAD_REQUEST", ("not the name of a group",), path="groups[0]")
    many = [f"group:{number}" for number in range(1_001)]
    yield Case("CheckAccess", "groups", many, "TOO_MANY", ("groups",), EXHAUSTED, limit=(1_000, 1_001))


CASES = [
    *(
        case
        for rpc in GOOD
        if rpc not in {"ForkConfig", "ListConfigs", "GetServerInfo", "WhoAmI"}
        for case in names(rpc, "config")
    ),
    *names("ForkConfig", "source"),
    *names("ForkConfig", "target"),
    *(case for rpc in ("Commit", "RevertConfig", "ForkConfig") for case in [*request_ids(rpc), *messages(rpc)]),
    *versions("Commit", "base_version"),
    *versions("GetVersion", "version", "min_version"),
    *versions("ListVersions", "before_version"),
    *versions("DiffVersions", "from_version", "to_version"),
    *versions("RevertConfig", "to_version", "base_version"),
    *versions("ForkConfig", "source_version"),
    *(
        case
        for rpc in ("GetVersion", "ListVersions", "DiffVersions", "GetKeyHistory", "ListConfigs")
        for case in pages(rpc)
    ),
    *filters("GetVersion"),
    *filters("WatchKeyHistory"),
    *filters("DiffVersions", with_keys=False),
    *keys("GetKeyHistory", "key"),
    *values(),
    *commits(),
    *others(),
]

ANYTHING_GOES = {
    "Commit.base_hash": "another hash than the base's is CURSOR_FORKED, whatever it looks like",
    "Commit.validate_only": "a boolean",
    "RevertConfig.base_hash": "as for Commit",
    "GetKeyHistory.newest_first": "a boolean",
}
"""Fields without a bad value, and why."""


def bad_request(case: Case) -> Message:
    """Change the one field of the good request."""
    request = type(GOOD[case.rpc])()
    request.CopyFrom(GOOD[case.rpc])
    descriptor = request.DESCRIPTOR.fields_by_name[case.field]
    request.ClearField(case.field)
    if case.bad is None:
        return request
    if descriptor.is_repeated:
        getattr(request, case.field).extend([case.bad] if isinstance(case.bad, str) else case.bad)
    elif descriptor.message_type:
        getattr(request, case.field).CopyFrom(case.bad)
    else:
        setattr(request, case.field, case.bad)
    return request


async def call(wire: Wire, rpc: str, request: Message) -> Refusal:
    if rpc == "WatchKeyHistory":
        return await refusal(wire.stub.WatchKeyHistory(request).read())  # type: ignore[arg-type]
    method: Callable[[Message], Any] = getattr(wire.stub, rpc)
    return await refusal(method(request))


def shown(case: Case) -> str:
    bad = repr(case.bad) if not isinstance(case.bad, Message) else type(case.bad).__name__
    return f"{case.rpc}.{case.field}={bad[:24]}"


@MEMORY_ONLY
async def test_bad_fields_are_refused_and_write_nothing(wire: Wire) -> None:
    await wire.commit(CONFIG, {"x": 1, "y": 2}, request_id="seed")
    before = await wire.get(CONFIG)
    wrong = []
    for case in CASES:
        refused = await call(wire, case.rpc, bad_request(case))
        expected = (case.code, case.reason)
        path = case.path or case.field
        problems = [
            f"{refused.code.name} {refused.reason}" if (refused.code, refused.reason) != expected else "",
            *(f"does not say {words!r}" for words in case.says if words not in refused.text),
            f"fields {refused.fields}" if case.code is INVALID and refused.fields[0][0] != path else "",
            f"limit {refused.metadata}"
            if case.limit
            and case.limit != (int(refused.metadata.get("limit", -1)), int(refused.metadata.get("actual", -1)))
            else "",
        ]
        if any(problems):
            wrong.append(f"{shown(case)}: {'; '.join(filter(None, problems))}: {refused.text!r}")
    assert not wrong, "\n".join(wrong)
    assert await wire.get(CONFIG) == before
    assert [config.name for config in (await wire.stub.ListConfigs(pb.ListConfigsRequest())).configs] == [CONFIG]


def test_every_field_of_every_request_has_a_bad_case() -> None:
    covered = {f"{case.rpc}.{case.field}" for case in CASES} | set(ANYTHING_GOES)
    fields = {f"{method.name}.{field.name}" for method in SERVICE.methods for field in method.input_type.fields}
    assert fields == covered
