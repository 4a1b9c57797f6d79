"""The decision on a command: merged, refused, or written. Knows the store's contract, no thread and no wire.

This is the one place where a change of `_lamina/access` is checked, however a server is asked for it.

`perform` runs within an open write, so that nothing that it has read can change before it
writes. `preview` makes the same decision within a read, and writes nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from lamina_server.domain import access_checks
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.commands import Command, CommitCommand, ForkCommand, RevertCommand
from lamina_server.domain.errors import (
    CompactedError,
    ConflictError,
    CursorError,
    ExistsError,
    InvalidError,
    KeyConflict,
    NotFoundError,
    Reason,
    RequestIdReusedError,
    ServerError,
    Violation,
)
from lamina_server.domain.hashing import NO_PARENT
from lamina_server.domain.planning import MapLimits, Plan, merge, plan
from lamina_server.domain.record import record
from lamina_server.domain.records import Change, Entry, Reply, RequestKey, Source, State, Version
from lamina_server.domain.secrets import NO_SEALER, Sealer
from lamina_server.domain.values import Kind, Value


class DecisionReader(Protocol):
    """The methods of a store's Reading that a decision needs."""

    def head(self, config: str) -> Version | None:
        """As Reading.head."""

    def oldest(self, config: str) -> int:
        """As Reading.oldest."""

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        """As Reading.versions."""

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        """As Reading.values."""

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        """As Reading.states."""

    def changed_between(self, config: str, low: int, high: int) -> Iterator[str]:
        """As Reading.changed_between."""

    def entries(self, config: str, number: int) -> Iterator[Entry]:
        """As Reading.entries."""


class DecisionWriter(DecisionReader, Protocol):
    """The methods of a store's Writing that a decision needs."""

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """As Reading.replies."""

    def insert(self, plan: Plan) -> None:
        """As Writing.insert."""

    def remember(self, request: RequestKey, reply: Reply) -> None:
        """As Writing.remember."""


@record
class Preview:
    """What a command would do: a reply whose version has no number, hash or time; and the keys that change."""

    reply: Reply
    changed_keys: tuple[str, ...]


@record
class Decided:
    """What a command asks for, on top of a head: a version, or none if it changes nothing; and its reply."""

    plan: Plan | None
    reply: Reply
    head: Version | None


def perform(
    writing: DecisionWriter,
    request: RequestKey,
    command: Command,
    *,
    now_us: int,
    limits: MapLimits,
    sealer: Sealer = NO_SEALER,
) -> Reply:
    """Carry out a command exactly once, and return its reply: the remembered one, or one decided and written now.

    The request id is looked up before any other check, so that a retry gets the first
    answer even if the config has moved on since. Refusals are raised, not remembered.
    """
    remembered = writing.replies(request.caller, (request.request_id,)).get(request.request_id)
    if remembered is not None:
        digest, reply = remembered
        if digest != request.digest:
            raise RequestIdReusedError(request.request_id)
        return reply
    decided = decide(writing, command, now_us=now_us, limits=limits, sealer=sealer)
    if decided.plan is not None:
        writing.insert(decided.plan)
    writing.remember(request, decided.reply)
    return decided.reply


def preview(
    reading: DecisionReader, command: Command, *, now_us: int, limits: MapLimits, sealer: Sealer = NO_SEALER
) -> Preview:
    """Decide a command as `perform` would, without looking up its request id, and write nothing."""
    decided = decide(reading, command, now_us=now_us, limits=limits, sealer=sealer)
    planned, reply = decided.plan, replace(decided.reply, created=False)
    if reply.version is not None:
        nameless = replace(reply.version, number=0, hash=NO_PARENT, commit_time_us=0)
        reply = replace(reply, version=nameless if planned else replace(nameless, change_count=0))
    return Preview(reply, tuple(value.key for value in planned.values) if planned else ())


def decide(
    reading: DecisionReader, command: Command, *, now_us: int, limits: MapLimits, sealer: Sealer = NO_SEALER
) -> Decided:
    """Decide a command. Raises its refusal. Secrets are equal if `sealer` says so."""
    decision = _decide(reading, command, sealer)
    if decision.config == ACCESS_CONFIG and decision.changes:
        _check_access(reading, decision, now_us)
    planned = _plan(decision, command, now_us=now_us, limits=limits)
    return Decided(planned, _reply(decision, planned), decision.head)


@record
class _Decision:
    """The changes to make on top of a head, and the values of the changed keys there."""

    config: str
    head: Version | None
    changes: tuple[Change, ...]
    values: Mapping[str, Value]
    merged: bool = False
    source: Source | None = None


def _decide(reading: DecisionReader, command: Command, sealer: Sealer) -> _Decision:
    if isinstance(command, CommitCommand):
        return _commit(reading, command, sealer)
    if isinstance(command, RevertCommand):
        return _revert(reading, command, sealer)
    return _fork(reading, command, sealer)


def _commit(reading: DecisionReader, command: CommitCommand, sealer: Sealer) -> _Decision:
    config, head = command.config, reading.head(command.config)
    base = _check_base(reading, config, head, command.base_version, command.base_hash)
    yours = {change.key: change.value for change in command.changes}
    at = _number(head)
    if command.require_base and base != at:
        raise _moved_on(reading, config, base, head, yours, sealer=sealer)
    keys: Collection[str] = yours.keys() | set(command.read_keys) if command.read_keys else yours
    values = reading.values(config, at, keys)
    base_values = values if base == at else reading.values(config, base, keys)
    same = partial(sealer.same, config)
    merged = merge(command.changes, command.read_keys, base=base_values, head=values, same=same)
    if merged.conflicts:
        raise _conflict(reading, head, merged.conflicts, base=base_values, yours=yours)
    return _Decision(config, head, merged.changes, values, merged=base != at and bool(merged.changes))


def _revert(reading: DecisionReader, command: RevertCommand, sealer: Sealer) -> _Decision:
    config, head = command.config, reading.head(command.config)
    if head is None:
        raise NotFoundError.config(config)
    base = _check_base(reading, config, head, command.base_version, command.base_hash)
    if command.to_version > head.number:
        raise NotFoundError.version(config, command.to_version, head.number)
    _check_kept(reading, head, command.to_version)
    if base != head.number:
        # A key in conflict has changed since the base: there is no need to read all that would be reverted.
        since = max(base, command.to_version)
        changed = list(reading.changed_between(config, since, head.number))
        reverted = reading.values(config, command.to_version, changed)
        raise _moved_on(reading, config, base, head, {key: reverted.get(key) for key in changed}, sealer=sealer)
    keys = list(reading.changed_between(config, command.to_version, head.number))
    old_values = reading.values(config, command.to_version, keys)
    changes = [Change(key, old_values.get(key)) for key in keys]
    values = reading.values(config, head.number, keys)
    differing = tuple(
        change for change in changes if not sealer.same(config, change.key, change.value, values.get(change.key))
    )
    return _Decision(config, head, differing, values)


def _fork(reading: DecisionReader, command: ForkCommand, sealer: Sealer) -> _Decision:
    _check_fork(command)
    source = reading.head(command.source)
    if source is None:
        raise NotFoundError.config(command.source)
    number = source.number if command.source_version is None else command.source_version
    if number > source.number:
        raise NotFoundError.version(command.source, number, source.number)
    _check_kept(reading, source, number)
    if reading.head(command.target) is not None:
        raise ExistsError(command.target)
    entries = reading.entries(command.source, number)
    changes = tuple(Change(entry.key, _forked(command, entry, sealer)) for entry in entries)
    origin = Source(command.source, number, _hash(reading, command.source, number))
    return _Decision(command.target, None, changes, {}, source=origin)


def _check_fork(command: ForkCommand) -> None:
    """Raise InvalidError for a fork that would show the hashes of tokens to others, or that brings another past."""
    if command.source == ACCESS_CONFIG:
        text = f"is {ACCESS_CONFIG}, which cannot be forked: it has the hashes of tokens. Commit what you need of it"
        raise InvalidError(Reason.BAD_CONFIG_NAME, [Violation("source", text)])
    if command.target == ACCESS_CONFIG:
        text = f"is {ACCESS_CONFIG}, which is no fork: its whole past is its own. Commit to it what it is to have"
        raise InvalidError(Reason.BAD_CONFIG_NAME, [Violation("target", text)])


def _check_access(reading: DecisionReader, decision: _Decision, now_us: int) -> None:
    """Raise InvalidError if the changes leave no access, or no admin."""
    number = _number(decision.head)
    values = {entry.key: entry.value for entry in reading.entries(decision.config, number)} if number else {}
    access_checks.check(values, decision.changes, now_us)


def _forked(command: ForkCommand, entry: Entry, sealer: Sealer) -> Value:
    """Return a value for the target: a secret is sealed anew, because it is bound to its config."""
    if entry.value.kind is not Kind.SECRET:
        return entry.value
    if not command.may_reveal:
        text = f"{command.source!r} has secrets ({entry.key!r}), so a fork of it needs the right to reveal them there"
        raise ServerError(Reason.NOT_ALLOWED, text)
    return sealer.resealed(command.source, command.target, entry.key, entry.value)


def _plan(decision: _Decision, command: Command, *, now_us: int, limits: MapLimits) -> Plan | None:
    """Return the version that a decision asks for; None if it changes nothing.

    A fork makes a version even if the source was empty, because the caller asked for a config.
    """
    if not decision.changes and decision.source is None:
        return None
    return plan(
        decision.changes,
        config=decision.config,
        head=decision.head,
        values=decision.values,
        author=command.author,
        message=command.message,
        now_us=now_us,
        limits=limits,
        source=decision.source,
    )


def _reply(decision: _Decision, planned: Plan | None) -> Reply:
    if planned is None:
        return Reply(decision.config, decision.head, created=False, merged=False)
    return Reply(decision.config, planned.version, created=True, merged=decision.merged)


def _check_base(
    reading: DecisionReader, config: str, head: Version | None, base_version: int | None, base_hash: bytes
) -> int:
    """Return the base's number; raise CursorError if the base is not part of this database's history."""
    at = _number(head)
    base = at if base_version is None else base_version
    if base > at:
        raise CursorError.ahead(config, base, head)
    if base_hash:
        known = head.hash if head is not None and base == at else _hash(reading, config, base)
        if base_hash != known:
            raise CursorError.forked(config, base, head)
    if head is not None:
        _check_kept(reading, head, base)
    return base


def _check_kept(reading: DecisionReader, head: Version, number: int) -> None:
    """Raise CompactedError if the map of a version is no longer kept: the head's always is, and version 0 is empty."""
    if 0 < number < head.number and number < (oldest := reading.oldest(head.config)):
        raise CompactedError(head.config, number, oldest)


def _moved_on(
    reading: DecisionReader,
    config: str,
    base: int,
    head: Version | None,
    yours: Mapping[str, Value | None],
    *,
    sealer: Sealer,
) -> ConflictError:
    """Return the conflict of a command whose base had to be the head: all keys that changed since the base."""
    keys = list(reading.changed_between(config, base, _number(head)))
    base_values = reading.values(config, base, keys)
    values = reading.values(config, _number(head), keys)
    changed = [key for key in keys if not sealer.same(config, key, base_values.get(key), values.get(key))]
    return _conflict(reading, head, changed, base=base_values, yours=yours)


def _conflict(
    reading: DecisionReader,
    head: Version | None,
    keys: Collection[str],
    *,
    base: Mapping[str, Value],
    yours: Mapping[str, Value | None],
) -> ConflictError:
    # The head differs from the base, so there is a version that made it differ.
    assert head is not None
    theirs = reading.states(head.config, head.number, keys)
    origins = reading.versions(head.config, {theirs[key].origin for key in keys})
    return ConflictError(head, [_key_conflict(key, base, theirs[key], origins, yours) for key in keys])


def _key_conflict(
    key: str,
    base: Mapping[str, Value],
    theirs: State,
    origins: Mapping[int, Version],
    yours: Mapping[str, Value | None],
) -> KeyConflict:
    old = base.get(key)
    return KeyConflict(
        key=key,
        base=old,
        theirs=theirs.value,
        their_version=theirs.origin,
        their_author=origins[theirs.origin].author,
        yours=yours.get(key, old),
    )


def _hash(reading: DecisionReader, config: str, number: int) -> bytes:
    return reading.versions(config, [number])[number].hash if number else NO_PARENT


def _number(head: Version | None) -> int:
    return head.number if head else 0
