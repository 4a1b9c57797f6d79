"""The bytes of a request -> a record, parsed and checked once.

Each function takes the bytes as they were received and returns a checked record, or raises
InvalidError or LimitError. Malformed bytes are BAD_REQUEST like any other mistake.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain import access
from lamina_server.domain.commands import CommitCommand, ForkCommand, RevertCommand
from lamina_server.domain.errors import InvalidError, LimitError, Reason, Violation
from lamina_server.domain.hashing import Field, content_digest
from lamina_server.domain.planning import Author
from lamina_server.domain.records import Change
from lamina_server.domain.secrets import UNSEALED, Content
from lamina_server.domain.selection import KeyFilter
from lamina_server.domain.values import Kind
from lamina_server.settings import Settings
from lamina_server.wire import requests, values
from lamina_server.wire.paging import PageRequest, decode_token
from lamina_server.wire.validation import Checker

BOOKMARK_INTERVAL_LEAST_SECONDS = 1
"""A shorter interval is of no use: keepalive is the heartbeat, not the bookmarks."""
_NANOS = 1_000_000_000
_TIMESTAMP_SECONDS = range(-62_135_596_800, 253_402_300_800)
"""The years 1 to 9999, which are the limits of google.protobuf.Timestamp."""

# Kept, because the enum makes a new list of its numbers at each call.
_MERGE_POLICIES = frozenset(pb.MergePolicy.values())
_VIEWS = frozenset(pb.View.values())

M = TypeVar("M", bound=Message)


def commit(data: bytes, author: Author, settings: Settings) -> requests.WriteRequest:
    """Read a CommitRequest."""
    message, checker = _parse(pb.CommitRequest, data, settings)
    checker.count("changes", len(message.changes), settings.change_limit, "changes")
    checker.count("read_keys", len(message.read_keys), settings.read_key_limit, "read keys")
    if not message.changes:
        checker.refuse(Reason.BAD_REQUEST, "changes", "is empty; a commit changes at least one key")
    if message.merge_policy not in _MERGE_POLICIES:
        checker.refuse(Reason.BAD_REQUEST, "merge_policy", f"{message.merge_policy} is not a MergePolicy")
    secrets: dict[str, Content | None] = {}
    command = CommitCommand(
        config=checker.config_name("config", message.config),
        base_version=_version(checker, message, "base_version"),
        base_hash=message.base_hash,
        changes=_changes(checker, message.changes, secrets),
        read_keys=checker.keys("read_keys", message.read_keys),
        message=checker.message("message", message.message),
        author=author,
        require_base=message.merge_policy == pb.REQUIRE_BASE,
    )
    if message.changes_limit_bytes < 0:
        checker.refuse(Reason.BAD_REQUEST, "changes_limit_bytes", f"{message.changes_limit_bytes} is negative")
    if not message.validate_only:
        checker.request_id("request_id", message.request_id)
    checker.done()
    return requests.WriteRequest(
        command,
        command.digest(),
        message.request_id,
        message.validate_only,
        min(message.changes_limit_bytes, settings.page_limit_bytes),
        secrets,
    )


def revert_config(data: bytes, author: Author, settings: Settings) -> requests.WriteRequest:
    """Read a RevertConfigRequest."""
    message, checker = _parse(pb.RevertConfigRequest, data, settings)
    command = RevertCommand(
        config=checker.config_name("config", message.config),
        to_version=_required_version(checker, message, "to_version"),
        base_version=_required_version(checker, message, "base_version"),
        base_hash=message.base_hash,
        message=checker.message("message", message.message),
        author=author,
    )
    checker.request_id("request_id", message.request_id)
    checker.done()
    return requests.WriteRequest(command, command.digest(), message.request_id)


def fork_config(data: bytes, author: Author, settings: Settings) -> requests.WriteRequest:
    """Read a ForkConfigRequest."""
    message, checker = _parse(pb.ForkConfigRequest, data, settings)
    command = ForkCommand(
        source=checker.config_name("source", message.source),
        source_version=_version(checker, message, "source_version"),
        target=checker.config_name("target", message.target),
        message=checker.message("message", message.message),
        author=author,
    )
    checker.request_id("request_id", message.request_id)
    checker.done()
    return requests.WriteRequest(command, command.digest(), message.request_id)


def get_version(data: bytes, settings: Settings) -> requests.GetVersionRequest:
    """Read a GetVersionRequest."""
    message, checker = _parse(pb.GetVersionRequest, data, settings)
    if message.view not in _VIEWS:
        checker.refuse(Reason.BAD_REQUEST, "view", f"{message.view} is not a View")
    config = checker.config_name("config", message.config)
    number = checker.version("version", message.version) if message.HasField("version") else None
    time_us = _time_us(checker, "time", message.time) if message.HasField("time") else None
    wanted = checker.key_filter(message.keys, message.prefixes)
    min_version = checker.version("min_version", message.min_version)
    content = ("GetVersion", config, *_optional(number), *_optional(time_us), message.view, min_version)
    return requests.GetVersionRequest(
        config=config,
        number=number,
        time_us=time_us,
        wanted=wanted,
        with_entries=message.view != pb.HEADER,
        with_origins=message.view == pb.BLAME,
        min_version=min_version,
        page=_page(checker, message, *content, *_filter_fields(wanted)),
    )


def get_server_info(data: bytes, settings: Settings) -> None:
    """Read a GetServerInfoRequest, which asks for nothing in particular."""
    _, checker = _parse(pb.GetServerInfoRequest, data, settings)
    checker.done()


def who_am_i(data: bytes, settings: Settings) -> None:
    """Read a WhoAmIRequest, which asks for nothing in particular."""
    _, checker = _parse(pb.WhoAmIRequest, data, settings)
    checker.done()


def check_access(data: bytes, settings: Settings) -> requests.CheckAccessRequest:
    """Read a CheckAccessRequest."""
    message, checker = _parse(pb.CheckAccessRequest, data, settings)
    checker.count("groups", len(message.groups), settings.filter_limit, "groups")
    checker.no_token(Reason.BAD_REQUEST, "principal", message.principal)
    if not access.PRINCIPAL.fullmatch(message.principal):
        example = "token:deployer, cert:spiffe://corp/shop or oidc:ada@corp.example"
        checker.refuse(Reason.BAD_REQUEST, "principal", f"is not the name of a principal, such as {example}")
    for index, group in enumerate(message.groups):
        if not access.GROUP.fullmatch(group):
            checker.refuse(Reason.BAD_REQUEST, f"groups[{index}]", "is not the name of a group, such as group:platform")
    config = checker.config_name("config", message.config)
    checker.done()
    return requests.CheckAccessRequest(message.principal, frozenset(message.groups), config)


def list_secret_keys(data: bytes, settings: Settings) -> requests.ListSecretKeysRequest:
    """Read a ListSecretKeysRequest."""
    message, checker = _parse(pb.ListSecretKeysRequest, data, settings)
    config = checker.config_name("config", message.config)
    checker.done()
    return requests.ListSecretKeysRequest(config)


def list_versions(data: bytes, settings: Settings) -> requests.ListVersionsRequest:
    """Read a ListVersionsRequest."""
    message, checker = _parse(pb.ListVersionsRequest, data, settings)
    config = checker.config_name("config", message.config)
    before = _version(checker, message, "before_version")
    page = _page(checker, message, "ListVersions", config, *_optional(before))
    return requests.ListVersionsRequest(config, before, page)


def diff_versions(data: bytes, settings: Settings) -> requests.DiffVersionsRequest:
    """Read a DiffVersionsRequest."""
    message, checker = _parse(pb.DiffVersionsRequest, data, settings)
    config = checker.config_name("config", message.config)
    old = _version(checker, message, "from_version")
    new = _version(checker, message, "to_version")
    wanted = checker.key_filter((), message.prefixes)
    content = ("DiffVersions", config, *_optional(old), *_optional(new), *_filter_fields(wanted))
    return requests.DiffVersionsRequest(config, old, new, wanted, _page(checker, message, *content))


def get_key_history(data: bytes, settings: Settings) -> requests.GetKeyHistoryRequest:
    """Read a GetKeyHistoryRequest."""
    message, checker = _parse(pb.GetKeyHistoryRequest, data, settings)
    config = checker.config_name("config", message.config)
    key = checker.key("key", message.key)
    page = _page(checker, message, "GetKeyHistory", config, key, int(message.newest_first))
    return requests.GetKeyHistoryRequest(config, key, message.newest_first, page)


def list_configs(data: bytes, settings: Settings) -> requests.ListConfigsRequest:
    """Read a ListConfigsRequest."""
    message, checker = _parse(pb.ListConfigsRequest, data, settings)
    prefix = checker.config_prefix("prefix", message.prefix)
    return requests.ListConfigsRequest(prefix, _page(checker, message, "ListConfigs", prefix))


def watch_key_history(data: bytes, settings: Settings) -> requests.WatchRequest:
    """Read a WatchKeyHistoryRequest."""
    message, checker = _parse(pb.WatchKeyHistoryRequest, data, settings)
    config = checker.config_name("config", message.config)
    wanted = checker.key_filter(message.keys, message.prefixes)
    after = None
    if message.HasField("after"):
        after = requests.Cursor(checker.version("after.version", message.after.version), message.after.hash)
    interval = settings.bookmark_interval_seconds
    if message.HasField("bookmark_interval"):
        interval = _interval_seconds(checker, "bookmark_interval", message.bookmark_interval)
    checker.done()
    return requests.WatchRequest(config, wanted, after, interval)


def _parse(kind: type[M], data: bytes, settings: Settings) -> tuple[M, Checker]:
    if len(data) > settings.request_limit_bytes:
        limit = settings.request_limit_bytes
        raise LimitError(Reason.TOO_LARGE, "the request", limit=limit, actual=len(data), unit="bytes")
    try:
        return kind.FromString(data), Checker(settings)
    except DecodeError:
        # The parser's own text may quote values.
        text = f"is not the encoding of a {kind.DESCRIPTOR.full_name}"
        raise InvalidError(Reason.BAD_REQUEST, [Violation("request", text)]) from None


def _changes(checker: Checker, messages: Iterable[pb.Change], secrets: dict[str, Content | None]) -> tuple[Change, ...]:
    """Read changes, and note their secrets."""
    seen: dict[str, int] = {}
    changes = []
    for index, message in enumerate(messages):
        path = f"changes[{index}]"
        key = checker.key(f"{path}.key", message.key)
        if (first := seen.setdefault(key, index)) != index:
            checker.refuse(Reason.BAD_REQUEST, f"{path}.key", f"is the key of changes[{first}] already")
        changes.append(_change(checker, path, key, message, secrets))
    return tuple(changes)


def _change(checker: Checker, path: str, key: str, message: pb.Change, secrets: dict[str, Content | None]) -> Change:
    match message.WhichOneof("change"):
        case "value":
            try:
                value = values.from_message(f"{path}.value", message.value, checker)
            except LimitError as error:  # people know the key, but not the index of its change
                what = f"{path}.value of {key!r}"
                raise LimitError(error.reason, what, limit=error.limit, actual=error.actual, unit=error.unit) from None
            if isinstance(value, Content):
                secrets[key] = value
                return Change(key, UNSEALED)
            if value.kind is Kind.SECRET:
                secrets[key] = None
            return Change(key, value)
        case "deleted":
            if not message.deleted:
                checker.refuse(Reason.BAD_REQUEST, f"{path}.deleted", "is false; set it to true or not at all")
        case None:
            checker.refuse(Reason.BAD_REQUEST, path, "has neither a value nor deleted; set one")
    return Change(key, None)


def _version(checker: Checker, message: Message, name: str) -> int | None:
    return checker.version(name, getattr(message, name)) if message.HasField(name) else None


def _required_version(checker: Checker, message: Message, name: str) -> int:
    if not message.HasField(name):
        checker.refuse(Reason.BAD_REQUEST, name, "is required")
    return checker.version(name, getattr(message, name))


def _page(
    checker: Checker,
    message: pb.GetVersionRequest
    | pb.ListVersionsRequest
    | pb.DiffVersionsRequest
    | pb.GetKeyHistoryRequest
    | pb.ListConfigsRequest,
    *content: Field,
) -> PageRequest:
    """Read which page is wanted. Call it last, because it raises for the mistakes of all fields before it."""
    size = checker.page_size("page_size", message.page_size)
    checker.done()
    resume = decode_token(message.page_token, content_digest(*content)) if message.page_token else None
    return PageRequest(size, resume, content)


def _time_us(checker: Checker, path: str, time: Timestamp) -> int:
    if time.seconds not in _TIMESTAMP_SECONDS or not 0 <= time.nanos < _NANOS:
        checker.refuse(Reason.BAD_REQUEST, path, "is not a time between the years 1 and 9999")
    return time.seconds * 1_000_000 + time.nanos // 1_000


def _interval_seconds(checker: Checker, path: str, interval: Duration) -> float:
    seconds = interval.seconds + interval.nanos / _NANOS
    if abs(interval.nanos) >= _NANOS:
        checker.refuse(Reason.BAD_REQUEST, path, f"{interval.nanos} nanoseconds are a second or more")
    elif seconds < BOOKMARK_INTERVAL_LEAST_SECONDS:
        least = BOOKMARK_INTERVAL_LEAST_SECONDS
        checker.refuse(Reason.BAD_REQUEST, path, f"{seconds:g} s is less than the limit of {least} s")
    return seconds


def _filter_fields(wanted: KeyFilter) -> Sequence[Field]:
    return (len(wanted.keys), *wanted.keys, *wanted.prefixes)


def _optional(number: int | None) -> Sequence[Field]:
    return (0,) if number is None else (1, number)
