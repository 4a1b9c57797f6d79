"""What a conflict is about: both sides of each key, and who committed theirs; flows that ask for what is missing.

The server's report of a conflict must fit into a call's trailers, so it leaves out large values, and keys when there
are many. A merge made by the client itself knows no authors. Both are completed here, from the head in question.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.reads import CATCH_UP_VERSIONS, READ_KEYS_LIMIT, advance, read_header, read_version
from lamina._mapping.merge import Lookup, merge
from lamina._mapping.stage import StagedChanges
from lamina._mapping.values import Stored, decode, load
from lamina._wire.messages import PagedEntries, blame_of, conflict_of
from lamina._wire.rpcs import GET_KEY_HISTORY, LIST_VERSIONS
from lamina._wire.status import ReportedConflictError
from lamina.errors import ConflictError
from lamina.records import MISSING, Conflict, Missing, Version
from lamina_protos.v1 import lamina_pb2 as pb

DELETION_CALLS: Final = 20
"""This many calls may look up the authors of deletions, because the server may be far away. For a key that these calls
do not find, the error omits the author."""
NAMED_KEYS: Final = 10
"""The number of keys that an error's text names."""


def conflict_error(
    config: str, conflicts: Mapping[str, Conflict], head: int, request_id: str | None = None
) -> ConflictError:
    """Make the error. Its text names keys, versions and authors, and says what to do next."""
    named = [f"{one.key!r} (version {one.version} by {one.author or '?'})" for one in conflicts.values()]
    if len(named) > NAMED_KEYS:
        named[NAMED_KEYS:] = [f"{len(named) - NAMED_KEYS} more"]
    what = f", where others have changed {', '.join(named)}" if named else ""
    text = f"{config} has moved on to version {head}{what}: refresh, resolving conflicts, and commit again; or discard"
    return ConflictError(text, conflicts=conflicts, head=head, request_id=request_id)


def explain(
    operation: Operation,
    stage: StagedChanges,
    request: pb.CommitRequest | pb.RevertConfigRequest,
    error: ReportedConflictError,
) -> Flow[ConflictError]:
    """Make a reported conflict whole."""
    detail, config = error.detail, request.config
    source = operation.session.source(config)
    conflicts = {conflict.key: conflict_of(conflict, source) for conflict in detail.conflicts}
    omitted = [one.key for one in detail.conflicts if one.values_omitted or _has_secret(one)]
    if detail.truncated:
        head = yield from read_header(operation, config, detail.head_version)
        keys = yield from _conflicting(operation, stage, request, head)
        yours = yield from _yours(operation, request, keys)
        conflicts = yield from describe(operation, head, keys, stage.base, yours)
    elif omitted:
        yours = yield from _yours(operation, request, omitted)
        theirs = yield from _read(operation, config, detail.head_version, omitted)
        for key in omitted:
            sides = _sides(key, stage.base, theirs, yours)
            conflicts[key] = replace(conflicts[key], **sides)
    return conflict_error(config, conflicts, detail.head_version, error.request_id)


def describe(
    operation: Operation,
    head: Version,
    keys: Collection[str],
    base: Lookup,
    yours: Mapping[str, Stored | Missing],
) -> Flow[dict[str, Conflict]]:
    """Return both sides of these keys at a head, and who committed theirs. Keys not in `yours` are as in the base."""
    pages = yield from read_version(operation, head.config, head, view=pb.BLAME, keys=_named(keys))
    theirs, blame = _stored(operation, head.config, pages), blame_of(pages)
    deletions = yield from _deletions(operation, head, [key for key in keys if key not in theirs])
    conflicts: dict[str, Conflict] = {}
    for key in sorted(keys):
        version, author = (blame[key].number, blame[key].author) if key in theirs else deletions.get(key, (0, ""))
        conflicts[key] = Conflict(key, version=version, author=author, **_sides(key, base, theirs, yours))
    return conflicts


def _deletions(operation: Operation, head: Version, keys: Collection[str]) -> Flow[dict[str, tuple[int, str]]]:
    """Find the versions that deleted keys that the head does not have, and their authors.

    One call lists the newest versions, which name most keys. One that has changed more keys than it names has deleted
    those that its parent had. Then the histories of single keys are read.
    """
    config, calls, rest = head.config, DELETION_CALLS, set(sorted(keys)[:READ_KEYS_LIMIT])
    found: dict[str, tuple[int, str]] = {}
    if not rest:
        return found
    request = pb.ListVersionsRequest(config=config, before_version=head.number + 1, page_size=CATCH_UP_VERSIONS)
    reply = yield from operation.ask(LIST_VERSIONS, request)
    for version in reply.versions:
        deleted = rest.intersection(version.changed_keys)
        if version.change_count > len(version.changed_keys) and deleted != rest:
            if not calls:
                return found
            calls -= 1
            deleted |= (yield from _read(operation, config, version.parent, rest - deleted)).keys()
        found |= dict.fromkeys(deleted, (version.version, version.author))
        rest -= deleted
    for key in sorted(rest)[:calls]:
        found[key] = yield from _deletion(operation, head, key)
    return found


def _deletion(operation: Operation, head: Version, key: str) -> Flow[tuple[int, str]]:
    """Find the version that deleted a key that the head does not have, and its author."""
    request = pb.GetKeyHistoryRequest(config=head.config, key=key, newest_first=True)
    while True:
        reply = yield from operation.ask(GET_KEY_HISTORY, request)
        for change in reply.changes:
            if change.version <= head.number:
                return change.version, change.author
        if not reply.next_page_token:
            return 0, ""
        request.page_token = reply.next_page_token


def _conflicting(
    operation: Operation, stage: StagedChanges, request: pb.CommitRequest | pb.RevertConfigRequest, head: Version
) -> Flow[Collection[str]]:
    """Find the keys that the server refused again, by the same rule."""
    if isinstance(request, pb.CommitRequest) and request.merge_policy == pb.MERGE_DISJOINT:
        staged = _wanted(operation, request)
        messages = yield from _read(operation, head.config, head.number, staged.keys() | set(request.read_keys))
        return merge(stage.base, _Found(messages), staged, set(request.read_keys)).conflicts
    entries = yield from advance(operation, stage.base, head)
    both = {*entries, *stage.base}
    return [key for key in sorted(both) if entries.stored(key) != stage.base.stored(key)]


def _yours(
    operation: Operation, request: pb.CommitRequest | pb.RevertConfigRequest, keys: Iterable[str]
) -> Flow[Mapping[str, Stored | Missing]]:
    """Return the values that the request would have given the keys; others stay as in the base."""
    if isinstance(request, pb.CommitRequest):
        return _wanted(operation, request)
    wanted = set(keys)
    old = yield from _read(operation, request.config, request.to_version, wanted)
    return {key: old.get(key, MISSING) for key in wanted}


def _read(operation: Operation, config: str, number: int, keys: Collection[str]) -> Flow[dict[str, Stored]]:
    pages = yield from read_version(operation, config, number, keys=_named(keys))
    return _stored(operation, config, pages)


def _stored(operation: Operation, config: str, pages: Iterable[pb.ConfigVersion]) -> dict[str, Stored]:
    source = operation.session.source(config)
    return {key: load(entry.value, key, source) for key, entry in PagedEntries(pages).items()}


def _has_secret(conflict: pb.KeyConflict) -> bool:
    """Return whether a value is a secret: an error never has its content."""
    return any(value.HasField("secret") for value in (conflict.base, conflict.theirs, conflict.yours))


def _named(keys: Collection[str]) -> list[str]:
    """Return the keys to name in a request; none, which means the whole map, if there are too many."""
    return sorted(keys) if len(keys) <= READ_KEYS_LIMIT else []


def _sides(
    key: str, base: Lookup, theirs: Mapping[str, Stored], yours: Mapping[str, Stored | Missing]
) -> dict[str, Any]:
    old = base.stored(key)
    return {
        "base": _shown(old),
        "theirs": _shown(theirs.get(key, MISSING)),
        "yours": _shown(yours.get(key, old)),
    }


def _shown(stored: Stored | Missing) -> Any:
    return MISSING if stored is MISSING else decode(stored)


def _wanted(operation: Operation, request: pb.CommitRequest) -> dict[str, Stored | Missing]:
    source = operation.session.source(request.config)
    return {
        change.key: MISSING if change.deleted else load(change.value, change.key, source) for change in request.changes
    }


class _Found:
    """Values that were read, in which a merge can look keys up."""

    def __init__(self, values: Mapping[str, Stored]) -> None:
        self._values = values

    def stored(self, key: str) -> Stored | Missing:
        return self._values.get(key, MISSING)
