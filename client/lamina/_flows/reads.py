"""The verbs that read, as sans-IO flows: what to ask a server for, page by page, and what to make of its answers."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, Generic, SupportsIndex, TypeVar

from lamina._flows.answers import Ascending, VersionPages, check_progress
from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.points import Point, number_of
from lamina._flows.session import Session, forked
from lamina._mapping.entries import Entries
from lamina._mapping.values import check_text
from lamina._runtime.log import log as logger
from lamina._wire.messages import (
    PagedEntries,
    access_check_of,
    blame_of,
    config_info_of,
    differences_of,
    key_change_of,
    server_info_of,
    time_of,
    timestamp_of,
    version_of,
    who_am_i_of,
)
from lamina._wire.rpcs import (
    CHECK_ACCESS,
    DIFF_VERSIONS,
    GET_KEY_HISTORY,
    GET_SERVER_INFO,
    GET_VERSION,
    LIST_CONFIGS,
    LIST_SECRET_KEYS,
    LIST_VERSIONS,
    WHO_AM_I,
    Rpc,
)
from lamina.errors import CursorError, InvalidError, NotFoundError
from lamina.records import AccessCheck, Change, ConfigInfo, KeyChange, ServerInfo, Version, WhoAmI
from lamina_protos.v1 import lamina_pb2 as pb

Item = TypeVar("Item")
Request = TypeVar("Request", bound=Any)
Reply = TypeVar("Reply", bound=Any)


READ_KEYS_LIMIT: Final = 1_000
"""The number of keys that a request may name, by the wire contract; for more, the whole map is read."""
SMALL_MAP_KEYS: Final = 1_000
"""A map of up to this many keys is about one page, so reading it again costs no more than finding what changed."""
CATCH_UP_VERSIONS: Final = 100
"""Up to this many versions are listed to find the changed keys; for more, a large map is read again."""


def open_config(session: Session, config: str, *, create: bool, is_impatient: bool = False) -> Flow[Entries]:
    """Read the head; without such a config, and with `create`, version 0. An impatient read gives up early."""
    config = check_text(config, "a config's name")
    try:
        return (yield from read_entries(Operation(session, is_impatient=is_impatient), config))
    except NotFoundError:
        if not create:
            raise
        return Entries.empty(config)


def at(session: Session, base: Entries, point: Point) -> Flow[Entries]:
    """Read the map as it was; the base itself and version 0 cost no call."""
    config = base.header.config
    number = None if isinstance(point, datetime) else number_of(point, config)
    if number == base.header.number:
        return base
    if number == 0:
        return Entries.empty(config)
    return (yield from read_entries(Operation(session), config, point))


def diff(session: Session, config: str, old: Point, new: Point | None) -> Flow[dict[str, Change]]:
    """Compare any two versions; without a second one, up to the head."""
    operation = Operation(session)
    from_version = yield from resolve(operation, config, old)
    to_version = yield from resolve(operation, config, new)
    request = pb.DiffVersionsRequest(config=config, from_version=from_version, to_version=to_version)
    order = Ascending[pb.Difference](f"keys of {config}", lambda difference: difference.key)
    pages = read_pages(operation, DIFF_VERSIONS, request, lambda page: order.check(page.differences))
    return differences_of((yield from pages), session.source(config))


def blame(session: Session, base: Entries, keys: Collection[str]) -> Flow[dict[str, Version]]:
    """Return for each key the version that set its value, as of the base; KeyError for a key that the base lacks."""
    for key in keys:
        base.origin(key)
    if not base:
        return {}
    named = keys if len(keys) <= READ_KEYS_LIMIT else ()
    pages = yield from read_version(Operation(session), base.header.config, base.header, view=pb.BLAME, keys=named)
    found = blame_of(pages)
    return {key: found[key] for key in sorted(keys)} if keys else found


class Listing(Generic[Item]):
    """A list that is read page by page, as it is iterated over."""

    def __init__(
        self,
        session: Session,
        rpc: Rpc[Request, Reply],
        request: Request,
        items: Callable[[Reply], Iterable[Item]],
        *,
        order: Ascending[Item],
        limit: int | None = None,
    ) -> None:
        self._session, self._rpc, self._items, self._order = session, rpc, items, order
        self._left = None if limit is None else _limit(limit)
        self._request: Any = request
        self._more = self._left != 0
        if limit is not None:
            self._request.page_size = min(limit, READ_KEYS_LIMIT)

    def next_page(self) -> Flow[list[Item] | None]:
        """Read the next page; None after the last one."""
        if not self._more:
            return None
        reply = yield from Operation(self._session).ask(self._rpc, self._request)
        items = list(self._items(reply))
        self._order.check(items)
        check_progress(self._request.page_token, reply.next_page_token, len(items))
        items = items[: self._left]
        if self._left is not None:
            self._left -= len(items)
        self._more = bool(reply.next_page_token) and self._left != 0
        self._request.page_token = reply.next_page_token
        return items


def log(session: Session, config: str, limit: int | None, before: SupportsIndex | None = None) -> Listing[Version]:
    """List the versions, newest first; with `before`, those older than it."""
    seen = session.horizon.least(config) if before is None else 0

    def versions(reply: pb.ListVersionsResponse) -> list[Version]:
        nonlocal seen
        records = [version_of(header, oldest=reply.oldest_version) for header in reply.versions]
        if records and records[0].number < seen:  # the first page shows the head
            text = f"{config} ends at version {records[0].number}, this client has seen {seen}"
            raise CursorError(text, reason="CURSOR_AHEAD", cursor=str(seen), head=records[0].number)
        seen = 0
        return records

    number = None if before is None else number_of(before, config)
    request = pb.ListVersionsRequest(config=config, before_version=number)
    order = Ascending[Version](f"versions of {config}", lambda version: -version.number)
    return Listing(session, LIST_VERSIONS, request, versions, order=order, limit=limit)


def history(session: Session, config: str, key: str, limit: int | None, *, newest_first: bool) -> Listing[KeyChange]:
    """List every change of one key."""
    request = pb.GetKeyHistoryRequest(config=config, key=check_text(key, "a key"), newest_first=newest_first)
    source = session.source(config)

    def changes(reply: pb.KeyHistory) -> Iterator[KeyChange]:
        return (key_change_of(change, source) for change in reply.changes)

    order = Ascending[KeyChange](
        f"changes of {key} in {config}", lambda change: -change.version if newest_first else change.version
    )
    return Listing(session, GET_KEY_HISTORY, request, changes, order=order, limit=limit)


def configs(session: Session, prefix: str) -> Listing[ConfigInfo]:
    """List the configs whose names begin so."""
    request = pb.ListConfigsRequest(prefix=check_text(prefix, "a prefix"))
    order = Ascending[ConfigInfo]("configs", lambda config: config.name)
    return Listing(session, LIST_CONFIGS, request, lambda reply: map(config_info_of, reply.configs), order=order)


def server_info(session: Session) -> Flow[ServerInfo]:
    """Ask which server answers."""
    return server_info_of((yield from Operation(session).ask(GET_SERVER_INFO, pb.GetServerInfoRequest())))


def secret_keys(session: Session, config: str) -> Flow[list[pb.SecretKey]]:
    """Read the data keys of a config's secrets, as the server's outer key has encrypted them."""
    return list((yield from Operation(session).ask(LIST_SECRET_KEYS, pb.ListSecretKeysRequest(config=config))).keys)


def whoami(session: Session) -> Flow[WhoAmI]:
    """Ask who this client is."""
    return who_am_i_of((yield from Operation(session).ask(WHO_AM_I, pb.WhoAmIRequest())))


def check_access(session: Session, principal: str, config: str, groups: Iterable[str]) -> Flow[AccessCheck]:
    """Ask what a principal may do with a config."""
    if isinstance(groups, str):
        raise TypeError(f"groups= is several groups, such as [{groups!r}]")
    request = pb.CheckAccessRequest(
        principal=check_text(principal, "a principal"),
        groups=[check_text(group, "a group") for group in groups],
        config=check_text(config, "a config's name"),
    )
    return access_check_of((yield from Operation(session).ask(CHECK_ACCESS, request)))


def newest(operation: Operation, base: Entries) -> Flow[Entries]:
    """Read the head, given what is known of an older version; CursorError if that is not in its past."""
    config = base.header.config
    try:
        if len(base) <= SMALL_MAP_KEYS:
            head = yield from read_entries(operation, config)
            yield from _check_past(operation, base, head.header)
            return base if head.header.number == base.header.number else head
        header = yield from read_header(operation, config)
    except NotFoundError:
        if base.header.number:
            raise
        return base  # a config that is still to be created
    yield from _check_past(operation, base, header)
    return (yield from advance(operation, base, header))


def advance(operation: Operation, base: Entries, header: Version) -> Flow[Entries]:
    """Read the entries of a later version: only the changed ones, if they are few."""
    config, behind = header.config, header.number - base.header.number
    if not behind:
        return base
    if len(base) > SMALL_MAP_KEYS and 0 < behind <= CATCH_UP_VERSIONS:
        request = pb.ListVersionsRequest(config=config, before_version=header.number + 1, page_size=behind)
        reply = yield from operation.ask(LIST_VERSIONS, request)
        changed = {key for version in reply.versions for key in version.changed_keys}
        whole = all(version.change_count == len(version.changed_keys) for version in reply.versions)
        if len(reply.versions) == behind and whole and len(changed) <= READ_KEYS_LIMIT:
            found = PagedEntries((yield from read_version(operation, config, header, keys=sorted(changed))))
            return base.advanced(header, {key: found.get(key) for key in changed})
    return (yield from read_entries(operation, config, header))


def resolve(operation: Operation, config: str, point: Point | None) -> Flow[int]:
    """Return the number of the version at a point in time; None is the head."""
    if point is None or isinstance(point, datetime):
        return (yield from read_header(operation, config, point)).number
    return number_of(point, config)


def read_header(operation: Operation, config: str, point: Point | None = None) -> Flow[Version]:
    """Read one version's header; None is the head."""
    pages = yield from read_version(operation, config, point, view=pb.HEADER)
    return version_of(pages[0])


def header_at(operation: Operation, config: str, time: datetime) -> Flow[Version]:
    """Read the header of the newest version at a time; version 0 if the first one is younger."""
    pages = yield from _read_version(operation, _version_request(operation, config, time, view=pb.HEADER))
    return version_of(pages[0])


def read_entries(operation: Operation, config: str, point: Point | None = None) -> Flow[Entries]:
    """Read one version's whole map; None is the head."""
    pages = yield from read_version(operation, config, point)
    return Entries(version_of(pages[0]), PagedEntries(pages), operation.session.absence)


def read_version(
    operation: Operation,
    config: str,
    point: Point | None = None,
    *,
    view: pb.View.ValueType = pb.ENTRIES,
    keys: Collection[str] = (),
) -> Flow[list[pb.ConfigVersion]]:
    """Read a version's pages; all answer for the version that the first one resolved. No keys: all of them.

    NotFoundError for a time before the first version: only the number 0 names the empty map.
    """
    request = _version_request(operation, config, point, view=view, keys=keys)
    pages = yield from _read_version(operation, request)
    if isinstance(point, datetime) and not pages[0].version:
        first = yield from read_header(operation, config, 1)
        text = (
            f"{config} has no version at {point.isoformat()}: version 1, its first, was committed at "
            f"{first.time.isoformat()} (0 names the empty map before it)"
        )
        raise NotFoundError(text, reason="VERSION_NOT_FOUND")
    return pages


def _version_request(
    operation: Operation,
    config: str,
    point: Point | None,
    *,
    view: pb.View.ValueType = pb.ENTRIES,
    keys: Collection[str] = (),
) -> pb.GetVersionRequest:
    least = operation.session.horizon.least(config)
    request = pb.GetVersionRequest(config=config, view=view, keys=keys, min_version=least)
    if isinstance(point, datetime):
        request.time.CopyFrom(timestamp_of(point))
    elif point is not None:
        request.version = number_of(point, config)
    return request


def _read_version(operation: Operation, request: pb.GetVersionRequest) -> Flow[list[pb.ConfigVersion]]:
    pages = yield from read_pages(operation, GET_VERSION, request, VersionPages(request).check)
    operation.session.horizon.saw(version_of(pages[0]))
    if pages[0].HasField("future_head_time"):
        logger.warning(
            "%s: its newest version is dated %s, later than the server's clock: a time may mean an older version than "
            "it should, a version's number never does",
            request.config,
            time_of(pages[0].future_head_time).isoformat(timespec="seconds"),
        )
    return pages


def read_pages(
    operation: Operation, rpc: Rpc[Request, Reply], request: Request, check: Callable[[Reply], int]
) -> Flow[list[Reply]]:
    """Read all pages of a reply; `check` returns how many items a page has, and raises if it cannot be right."""
    pages: list[Reply] = []
    while not pages or pages[-1].next_page_token:
        if pages:
            request.page_token = pages[-1].next_page_token
        page = yield from operation.ask(rpc, request)
        check_progress(request.page_token, page.next_page_token, check(page))
        pages.append(page)
    return pages


def _check_past(operation: Operation, base: Entries, head: Version) -> Flow[None]:
    """Raise CursorError unless the base is in the head's past: a restored backup may have grown another one."""
    known = base.header
    if not known.number:
        return
    same = head if head.number == known.number else (yield from read_header(operation, known.config, known))
    if same.hash != known.hash:
        raise forked(known.config, known.number, known.hash, head.number)


def _limit(limit: int) -> int:
    if not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance] - for who has no checker
        raise TypeError(f"limit= is an int, not {type(limit).__name__}")
    if limit < 0:
        raise InvalidError(f"limit={limit}: there is no such number of items", reason="BAD_REQUEST")
    return limit
