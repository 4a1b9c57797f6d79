"""The verbs that write, as sans-IO flows: commit, refresh, revert, fork; and how an open write is resolved.

A write is open from before it is first sent until its outcome is known: an UnavailableError, Ctrl-C or a cancelled task
leave it on the stage, with its request id. The same content written again is sent with that id, so the server answers
as it did the first time. Before other content is written, the open write is resolved, and the stage stands on its
outcome.

Worked example: over version 1, {x: 28} is committed and the link breaks. The user also sets y and commits again. The
open request {x: 28} is sent again: it became version 2 the first time, and the server says so. The stage moves on to
version 2, where x is 28 and only y is left to change, and {y} is committed as version 3.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, Literal, TypeAlias

from lamina._flows.conflicts import conflict_error, describe, explain
from lamina._flows.effects import Flow, Invoke, Sleep
from lamina._flows.operation import RETRY_CEILING_SECONDS, Operation, is_unknowing
from lamina._flows.points import Point
from lamina._flows.reads import advance, newest, read_entries, read_header, read_version, resolve
from lamina._flows.session import Landed, Session
from lamina._mapping.entries import Entries
from lamina._mapping.merge import merge
from lamina._mapping.stage import StagedChanges, applied, changes_of
from lamina._mapping.values import Stored, check_text, encode
from lamina._runtime.arguments import checked, finished
from lamina._runtime.tracebacks import call_users
from lamina._wire.hashing import is_made_of
from lamina._wire.messages import PagedEntries, changes_in, version_of
from lamina._wire.rpcs import COMMIT, FORK_CONFIG, REVERT_CONFIG, Rpc
from lamina._wire.status import ReportedConflictError
from lamina.errors import ConflictError, InvalidError, LaminaError, UnavailableError
from lamina.records import MISSING, Conflict, Missing, Version
from lamina_protos.v1 import lamina_pb2 as pb

Resolve: TypeAlias = Literal["theirs", "yours"] | Callable[[Conflict], Any] | None
"""How to resolve conflicts: with one side, or with a function of each conflict; None raises them."""
Write: TypeAlias = pb.CommitRequest | pb.RevertConfigRequest

CHANGES_LIMIT_BYTES: Final = 64 * 1024
"""Up to here a commit's reply brings what others have changed. Of more, most maps are read as fast as a whole."""
PROVEN_CHANGES: Final = 10
"""To hash one change takes as long as to copy several from a reply, so this is for versions of few changes."""
CONTENTION_SECONDS: Final = 0.01
"""The first pause after a transaction lost against another is drawn from 0 to this: about the time of a transaction."""


def commit(session: Session, stage: StagedChanges, message: str, *, merge: bool, dry_run: bool) -> Flow[Version]:
    """Commit the staged changes; the stage then stands on the new version, with the changes of others."""
    _refuse_within(stage)
    operation, message = Operation(session), check_text(message, "a message")
    request = _commit_request(stage, stage.staged, message, merge=merge)
    if dry_run:
        return (yield from _preview(operation, stage, request))
    if stage.unresolved is not None and not _same(stage.unresolved, request):
        settled = yield from _resolve_open_write(operation, stage, None)
        if settled is not None and not stage.staged:
            return settled  # all of the draft was in the open write
        request = _commit_request(stage, stage.staged, message, merge=merge)
    if request.changes:
        return (yield from _write(operation, stage, request))
    return (yield from _move_to_head(operation, stage, None, stay=not merge))


def refresh(session: Session, stage: StagedChanges, resolve: Resolve) -> Flow[None]:
    """Move the staged changes to the head."""
    if resolve not in (None, "theirs", "yours"):
        if not callable(resolve):
            raise TypeError("resolve= takes 'theirs', 'yours' or a function of a Conflict")
        checked(resolve, "resolve=")
    _refuse_within(stage)
    operation = Operation(session)
    if stage.unresolved is not None:
        yield from _resolve_open_write(operation, stage, resolve)
    yield from _move_to_head(operation, stage, resolve)


def begin_edit(session: Session, stage: StagedChanges, message: str) -> Flow[None]:
    """Move to the head; refuse if anything is staged, or if the message could not be committed."""
    check_text(message, "a message")
    _refuse_changes(stage, "edit")
    yield from refresh(session, stage, None)
    _refuse_changes(stage, "edit")


def transact(session: Session, stage: StagedChanges, invoke: Invoke, message: str) -> Flow[Version]:
    """Let a function change the draft, and commit it; if others changed what it read, run it again on the new head.

    Each try has the verb's whole time, and the number of tries has no limit: each failure means that somebody else's
    commit succeeded. If the function raises, the draft is discarded; an open write stays for `commit`. The details of a
    conflict are not read, because the function runs again in any case.
    """
    message = check_text(message, "a message")
    _refuse_changes(stage, "transact")
    for tries in count():
        yield from refresh(session, stage, None)
        _refuse_changes(stage, "transact")
        stage.begin_transaction()
        try:
            yield invoke
        except BaseException:
            stage.is_running = False
            stage.discard()
            raise
        stage.is_running = False
        operation, request = Operation(session), _commit_request(stage, stage.staged, message, merge=True)
        try:
            if request.changes:
                return (yield from _send(operation, stage, request))
            return (yield from _move_to_head(operation, stage, None))
        except ConflictError:
            stage.discard()
        except BaseException:
            if stage.unresolved is None:
                stage.discard()
            raise
        yield Sleep(session.uniform(0, min(RETRY_CEILING_SECONDS, CONTENTION_SECONDS * 2 ** min(tries, 16))))
    raise AssertionError("there is always another try")


def revert(session: Session, stage: StagedChanges, keys: tuple[str, ...], to: Point, message: str) -> Flow[Version]:
    """Write some keys, or without any the whole map, as they were at another version."""
    _refuse_within(stage)
    _refuse_changes(stage, "revert")
    operation, message = Operation(session), check_text(message, "a message")
    keys = tuple(check_text(key, "a key") for key in keys)
    number = yield from resolve(operation, stage.base.header.config, to)
    request = yield from _revert_request(operation, stage, keys, number, message)
    if stage.unresolved is not None and not _same(stage.unresolved, request):
        yield from _resolve_open_write(operation, stage, None)
        _refuse_changes(stage, "revert")
        request = yield from _revert_request(operation, stage, keys, number, message)
    if isinstance(request, pb.CommitRequest) and not request.changes:
        return (yield from _move_to_head(operation, stage, None))
    return (yield from _write(operation, stage, request))


def fork(session: Session, stage: StagedChanges, target: str, at: Point | None, message: str) -> Flow[Entries]:
    """Make a new config of one version of this one, by default of the one the stage stands on, and read it."""
    operation, config = Operation(session), stage.base.header.config
    number = yield from resolve(operation, config, stage.base.header if at is None else at)
    request = pb.ForkConfigRequest(
        source=config,
        source_version=number,
        target=check_text(target, "a config's name"),
        message=check_text(message, "a message"),
    )
    unresolved = stage.unresolved_fork
    known = unresolved is not None and _same(unresolved, request)
    request.request_id = unresolved.request_id if unresolved and known else session.new_request_id()
    stage.unresolved_fork = request
    try:
        reply = yield from operation.ask(FORK_CONFIG, request, resumed=known)
    except LaminaError as error:
        if not _leaves_open(error, resumed=known):
            stage.unresolved_fork = None
        raise
    try:
        entries = yield from read_entries(operation, request.target, reply.version.version)
    except LaminaError as error:
        raise _unread(error, request, reply.version.version) from None
    stage.unresolved_fork = None
    return entries


def _write(operation: Operation, stage: StagedChanges, request: Write) -> Flow[Version]:
    """Send a write; a conflict is raised with both sides."""
    try:
        return (yield from _send(operation, stage, request))
    except ReportedConflictError as error:
        raise (yield from explain(operation, stage, request, error)) from None


def _send(operation: Operation, stage: StagedChanges, request: Write) -> Flow[Version]:
    """Send a write, with the open write's id if it is the same, and stand on its outcome."""
    resumed = stage.unresolved is not None
    if stage.unresolved is None:
        request.request_id = operation.session.new_request_id()
        stage.unresolved, stage.unresolved_keys = request, frozenset(stage.staged)
    try:
        reply = yield from operation.ask(_rpc_of(request), stage.unresolved, resumed=resumed)
    except LaminaError as error:
        if not _leaves_open(error, resumed=resumed):
            stage.unresolved = None
        raise
    landed = yield from _entries_after(operation, stage, request, reply)
    stage.rebase(landed, {})
    stage.unresolved = None
    return landed.header


def _resolve_open_write(operation: Operation, stage: StagedChanges, resolve: Resolve) -> Flow[Version | None]:
    """Resolve the open write, and move later staged changes onto its version; return None if it was refused."""
    request = stage.unresolved
    assert request is not None
    try:
        reply = yield from operation.ask(_rpc_of(request), request, resumed=True)
    except LaminaError as error:
        if _leaves_open(error, resumed=True):
            raise
        stage.unresolved = None  # refused, so never written: the staged changes are sent as a new write
        return None
    landed = yield from _entries_after(operation, stage, request, reply)
    # Its version has all of its changes, with secrets as the server has sealed them.
    own = {change.key: landed.find(change.key) for change in _changes(request)}
    base = stage.base.advanced(landed.header, own)
    # Keys of the open write that the draft had changed may have been set back since. The keys of a revert were not
    # changes of the draft, so they keep their new values.
    wanted = {key: stage.stored(key) for key in stage.staged.keys() | stage.unresolved_keys}
    staged = {key: value for key, value in wanted.items() if value != base.stored(key)}
    stage.rebase(landed, (yield from _rebase(operation, stage, base, landed, staged, resolve=resolve)))
    stage.unresolved = None
    return landed.header


def _entries_after(
    operation: Operation, stage: StagedChanges, request: Write, reply: pb.CommitResponse
) -> Flow[Entries]:
    """Make the entries of the version that a write made: with a call, if nothing else has all of its changes."""
    header, landed = version_of(reply.version), operation.session.landed
    operation.session.horizon.saw(header)
    entries = None
    if isinstance(request, pb.CommitRequest):
        entries = _entries_in(reply, header, request, stage.base, landed)
    if entries is None:
        try:
            entries = yield from advance(operation, stage.base, header)
        except LaminaError as error:
            raise _unread(error, request, header.number) from None
    landed[header.config, header.number] = entries
    return entries


def _entries_in(
    reply: pb.CommitResponse, header: Version, request: pb.CommitRequest, base: Entries, landed: Landed
) -> Entries | None:
    """Make the entries of the version that a commit made from its reply; None if they are to be read.

    If another draft of this client stands on the version's parent, its map and the request's own changes are enough.
    Its header says so by hash, since a server with a restored backup could mean another parent by the same number.
    The request's changes do not have the sealed bytes of secrets: only the server knows them.
    """
    changes = request.changes
    if reply.created and not any(change.value.HasField("secret") for change in changes):
        if not reply.merged and header.parent == request.base_version == base.header.number:
            return applied(base, header, changes)
        parent = landed.get((header.config, header.parent))
        if parent is not None and len(changes) <= PROVEN_CHANGES and is_made_of(reply.version, parent.header, changes):
            return applied(parent, header, changes)
    if reply.has_changes and request.base_version == base.header.number:
        return base.advanced(header, changes_in(reply))
    return None


def _move_to_head(operation: Operation, stage: StagedChanges, resolve: Resolve, *, stay: bool = False) -> Flow[Version]:
    """Move to the head; with `stay`, refuse if that is a move."""
    head = yield from newest(operation, stage.base)
    if stay and head.header.number != stage.base.header.number:
        raise conflict_error(head.header.config, {}, head.header.number)
    stage.rebase(head, (yield from _rebase(operation, stage, stage.base, head, stage.staged, resolve=resolve)))
    return head.header


def _rebase(
    operation: Operation,
    stage: StagedChanges,
    base: Entries,
    head: Entries,
    staged: Mapping[str, Stored | Missing],
    *,
    resolve: Resolve,
) -> Flow[dict[str, Stored | Missing]]:
    """Merge staged changes with the head's; conflicts are resolved, or raised."""
    merged = merge(base, head, staged, stage.keys_read & staged.keys())
    if not merged.conflicts or resolve == "yours":
        return merged.staged
    if resolve == "theirs":
        return {key: value for key, value in merged.staged.items() if key not in merged.conflicts}
    conflicts = yield from describe(operation, head.header, merged.conflicts, base, staged)
    if resolve is None:
        raise conflict_error(head.header.config, conflicts, head.header.number)
    return merged.staged | {key: _decided(resolve, conflict, base.header.config) for key, conflict in conflicts.items()}


def _decided(resolve: Callable[[Conflict], Any], conflict: Conflict, config: str) -> Stored | Missing:
    value = finished(call_users(resolve, conflict))
    return MISSING if value is MISSING else encode(value, key=conflict.key, config=config)


def _preview(operation: Operation, stage: StagedChanges, request: pb.CommitRequest) -> Flow[Version]:
    """Let the server check and merge a commit without writing it."""
    if not request.changes:
        return (yield from read_header(operation, request.config)) if request.base_version else stage.base.header
    request.validate_only = True
    try:
        reply = yield from operation.ask(COMMIT, request)
    except ReportedConflictError as error:
        raise (yield from explain(operation, stage, request, error)) from None
    return replace(version_of(reply.version), config=request.config, time=datetime.now(UTC))


def _commit_request(
    stage: StagedChanges, staged: Mapping[str, Stored | Missing], message: str, *, merge: bool
) -> pb.CommitRequest:
    base, depends_on_all = stage.base.header, stage.depends_on_all
    return pb.CommitRequest(
        config=base.config,
        base_version=base.number,
        base_hash=bytes.fromhex(base.hash),
        changes=changes_of(staged),
        message=message,
        merge_policy=pb.MERGE_DISJOINT if merge and not depends_on_all else pb.REQUIRE_BASE,
        read_keys=() if depends_on_all else stage.declared_reads(),
        changes_limit_bytes=CHANGES_LIMIT_BYTES,
    )


def _revert_request(
    operation: Operation, stage: StagedChanges, keys: tuple[str, ...], number: int, message: str
) -> Flow[Write]:
    base = stage.base.header
    if not keys:
        return pb.RevertConfigRequest(
            config=base.config,
            to_version=number,
            base_version=base.number,
            base_hash=bytes.fromhex(base.hash),
            message=message,
        )
    old = Entries(base, PagedEntries((yield from read_version(operation, base.config, number, keys=keys))))
    for key in keys:
        if key not in old and key not in stage.base:
            raise KeyError(key)
    staged = {key: old.stored(key) for key in keys if old.stored(key) != stage.base.stored(key)}
    return _commit_request(stage, staged, message, merge=True)


def _unread(error: LaminaError, request: Write | pb.ForkConfigRequest, number: int) -> LaminaError:
    """Complete the error of a read after a write: the caller sees that there is a write to resume."""
    error.request_id = request.request_id
    error.args = (f"version {number} is written, but cannot be read: {error}",)
    return error


def _changes(request: Write) -> Iterable[pb.Change]:
    """Return the changes that a request names; a revert names none."""
    return request.changes if isinstance(request, pb.CommitRequest) else ()


def _same(open_write: Any, request: Any) -> bool:
    """Return whether two requests are equal except for their ids."""
    if type(open_write) is not type(request):
        return False
    other = type(request)()
    other.CopyFrom(request)
    other.request_id = open_write.request_id
    return bool(open_write == other)


def _leaves_open(error: LaminaError, *, resumed: bool) -> bool:
    """Return whether a write may have happened. Only an error with the server's reason says that it did not.

    An UnavailableError has `wrote_nothing` if the server has said so of each try, and of what is resumed.
    An error without a reason is from gRPC or a proxy, and an earlier try may have reached the server. A proxy that
    refuses a request has not passed it on, and a server that refuses a caller has not looked at the request; but
    neither knows the outcome of a write that is resumed.
    """
    if isinstance(error, UnavailableError):
        return not error.wrote_nothing
    if error.reason is None:
        return True
    return resumed and is_unknowing(error)


def _rpc_of(request: Write) -> Rpc[Any, pb.CommitResponse]:
    return COMMIT if isinstance(request, pb.CommitRequest) else REVERT_CONFIG


def _refuse_within(stage: StagedChanges) -> None:
    """Refuse to move the draft while a transaction's function runs: the draft would forget what was read."""
    if stage.is_running:
        text = "within transact a draft is read and changed: transact itself refreshes and commits it"
        raise InvalidError(text, reason="BAD_REQUEST")


def _refuse_changes(stage: StagedChanges, verb: str) -> None:
    if stage.staged:
        keys = ", ".join(map(repr, sorted(stage.staged)[:10]))
        text = (
            f"{verb} needs a draft without changes, this one has {len(stage.staged)} ({keys}): commit or discard them"
        )
        raise InvalidError(text, reason="BAD_REQUEST")
