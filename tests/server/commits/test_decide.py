"""The decision on a command, over the memory store: merged, refused, written, or remembered."""

from itertools import count

import pytest

from lamina_server.commits.decide import Preview, perform, preview
from lamina_server.domain.commands import Command, CommitCommand, ForkCommand, RevertCommand
from lamina_server.domain.errors import (
    ConflictError,
    CursorError,
    ExistsError,
    LimitError,
    NotFoundError,
    Reason,
    RequestIdReusedError,
)
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.records import Change, Reply, RequestKey, Source
from lamina_server.domain.values import Value
from lamina_server.store.memory import MemoryStore

LIMITS = MapLimits(keys=1_000, size_bytes=1_000_000)
CONFIG = "payments/prod"


def change(key: str, number: int | None) -> Change:
    return Change(key, None if number is None else Value.of_integer(number))


def commit(
    *changes: Change,
    base: int | None = None,
    base_hash: bytes = b"",
    reads: tuple[str, ...] = (),
    author: str = "ada",
    require_base: bool = False,
) -> CommitCommand:
    return CommitCommand(CONFIG, base, base_hash, changes, reads, "why", Author(author), require_base)


class World:
    """A store, a fixed clock, and a new request id for each command without its own."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ids = count(1)

    def do(self, command: Command, request_id: str | None = None) -> Reply:
        request = RequestKey("", request_id or f"request {next(self.ids)}", command.digest())
        with self.store.write() as writing:
            return perform(writing, request, command, now_us=1_000, limits=LIMITS)

    def preview(self, command: Command) -> Preview:
        with self.store.read() as reading:
            return preview(reading, command, now_us=1_000, limits=LIMITS)

    def map(self, config: str = CONFIG) -> dict[str, object]:
        with self.store.read() as reading:
            head = reading.head(config)
            return {entry.key: entry.value.data for entry in reading.entries(config, head.number if head else 0)}

    @property
    def head(self) -> int:
        with self.store.read() as reading:
            head = reading.head(CONFIG)
            return head.number if head else 0


@pytest.fixture
def world() -> World:
    """Version 1 is {x: 1, y: 1}, version 2 sets x to 2 (by bob)."""
    world = World()
    world.do(commit(change("x", 1), change("y", 1), base=0))
    world.do(commit(change("x", 2), base=1, author="bob"))
    return world


def test_disjoint_changes_are_merged(world: World) -> None:
    reply = world.do(commit(change("y", 5), base=1))
    assert (reply.created, reply.merged, reply.version and reply.version.number) == (True, True, 3)
    assert world.map() == {"x": 2, "y": 5}


def test_on_the_head_nothing_is_merged(world: World) -> None:
    assert not world.do(commit(change("y", 5), base=2)).merged
    assert not world.do(commit(change("y", 6))).merged


def test_a_conflict_names_both_sides_and_writes_nothing(world: World) -> None:
    with pytest.raises(ConflictError) as caught:
        world.do(commit(change("x", 3), change("y", 3), base=1))
    (conflict,) = caught.value.conflicts
    assert (conflict.key, conflict.their_version, conflict.their_author) == ("x", 2, "bob")
    assert [value and value.data for value in (conflict.base, conflict.theirs, conflict.yours)] == [1, 2, 3]
    assert caught.value.head.number == 2
    assert (world.head, world.map()) == (2, {"x": 2, "y": 1})


def test_a_delete_of_a_changed_key_and_a_change_of_a_deleted_key_are_conflicts(world: World) -> None:
    with pytest.raises(ConflictError):
        world.do(commit(change("x", None), base=1))
    world.do(commit(change("y", None), base=2))
    with pytest.raises(ConflictError) as caught:
        world.do(commit(change("y", 9), base=2))
    assert caught.value.conflicts[0].theirs is None


def test_a_read_key_that_changed_is_a_conflict(world: World) -> None:
    with pytest.raises(ConflictError) as caught:
        world.do(commit(change("y", 3), base=1, reads=("x",)))
    (conflict,) = caught.value.conflicts
    assert (conflict.key, conflict.yours) == ("x", conflict.base)
    assert world.do(commit(change("y", 3), base=2, reads=("x",))).created


def test_require_base_names_everything_that_changed_since(world: World) -> None:
    with pytest.raises(ConflictError) as caught:
        world.do(commit(change("y", 3), base=1, require_base=True))
    assert [conflict.key for conflict in caught.value.conflicts] == ["x"]
    world.do(commit(change("x", 1), base=2))
    with pytest.raises(ConflictError, match="not the base") as caught:
        world.do(commit(change("y", 3), base=1, require_base=True))
    assert caught.value.conflicts == ()
    assert world.do(commit(change("y", 3), base=3, require_base=True)).created


def test_changes_that_change_nothing_write_nothing(world: World) -> None:
    for nothing in (
        commit(change("x", 2)),
        commit(change("x", 1), base=1),  # equal to its base: never meant
        commit(change("x", 2), base=1),  # equal to the head: happened already
        commit(change("none", None)),
    ):
        reply = world.do(nothing)
        assert (reply.created, reply.version and reply.version.number) == (False, 2)
    assert world.head == 2


def test_a_commit_without_changes_to_a_missing_config_has_no_version() -> None:
    assert World().do(commit(change("x", None), base=0)) == Reply(CONFIG, None, created=False, merged=False)


def test_a_base_of_another_epoch_is_refused(world: World) -> None:
    with pytest.raises(CursorError) as ahead:
        world.do(commit(change("x", 3), base=3))
    assert (ahead.value.reason, ahead.value.head and ahead.value.head.number) == (Reason.CURSOR_AHEAD, 2)
    with pytest.raises(CursorError) as forked:
        world.do(commit(change("x", 3), base=1, base_hash=b"another"))
    assert forked.value.reason is Reason.CURSOR_FORKED
    with pytest.raises(CursorError):
        World().do(commit(change("x", 3), base=1))


def test_a_retry_gets_the_first_answer_after_the_config_has_moved_on(world: World) -> None:
    """P8: the same caller, request id and content."""
    command = commit(change("y", 7), base=2)
    first = world.do(command, "mine")
    world.do(commit(change("y", 8), base=3))
    assert world.do(command, "mine") == first
    assert world.head == 4
    with pytest.raises(RequestIdReusedError, match="mine"):
        world.do(commit(change("y", 9), base=2), "mine")


def test_a_refusal_is_not_remembered(world: World) -> None:
    refused = commit(change("x", 9), base=1)
    with pytest.raises(ConflictError):
        world.do(refused, "again")
    world.do(commit(change("x", 1), base=2))  # now the head is as the base was
    assert world.do(refused, "again").created


def test_a_command_that_changes_nothing_is_remembered_too(world: World) -> None:
    nothing = commit(change("x", 2))
    first = world.do(nothing, "nothing")
    world.do(commit(change("x", 3)))
    assert world.do(nothing, "nothing") == first


def test_a_preview_makes_the_same_decision_and_writes_nothing(world: World) -> None:
    command = commit(change("y", 5), change("z", 1), change("x", 2), base=1)
    found = world.preview(command)
    version = found.reply.version
    assert version is not None
    assert (version.number, version.hash, version.commit_time_us) == (0, b"", 0)
    assert (found.changed_keys, version.key_count, version.change_count) == (("y", "z"), 3, 2)
    assert (found.reply.created, found.reply.merged) == (False, True)
    assert world.head == 2
    assert world.preview(commit(change("x", 2))).changed_keys == ()
    with pytest.raises(ConflictError):
        world.preview(commit(change("x", 3), base=1))


def revert(to: int, base: int, base_hash: bytes = b"") -> RevertCommand:
    return RevertCommand(CONFIG, to, base, base_hash, "undo", Author("ada"))


def test_a_revert_is_a_new_version_with_an_old_map(world: World) -> None:
    world.do(commit(change("z", 1), change("y", None)))
    reply = world.do(revert(1, base=3))
    assert reply.version is not None
    assert (reply.version.number, reply.version.change_count, reply.merged) == (4, 3, False)
    assert world.map() == {"x": 1, "y": 1}
    assert not world.do(revert(1, base=4)).created
    world.do(revert(0, base=4))
    assert world.map() == {}


def test_a_revert_demands_the_head_as_its_base(world: World) -> None:
    with pytest.raises(ConflictError) as caught:
        world.do(revert(1, base=1))
    assert [conflict.key for conflict in caught.value.conflicts] == ["x"]
    with pytest.raises(NotFoundError) as missing:
        world.do(revert(3, base=2))
    assert missing.value.reason is Reason.VERSION_NOT_FOUND
    with pytest.raises(CursorError):
        world.do(revert(1, base=3))
    with pytest.raises(NotFoundError) as nowhere:
        World().do(revert(0, base=0))
    assert nowhere.value.reason is Reason.CONFIG_NOT_FOUND


def fork(target: str, version: int | None = None, source: str = CONFIG) -> ForkCommand:
    return ForkCommand(source, version, target, "branch", Author("ada"))


def test_a_fork_sets_every_key_and_records_its_source(world: World) -> None:
    reply = world.do(fork("payments/eu", 1))
    with world.store.read() as reading:
        source = reading.versions(CONFIG, [1])[1]
    assert reply.version is not None
    assert reply.version.source == Source(CONFIG, 1, source.hash)
    assert (reply.version.number, reply.version.change_count) == (1, 2)
    assert world.map("payments/eu") == {"x": 1, "y": 1}
    assert world.map() == {"x": 2, "y": 1}
    world.do(fork("payments/us"))
    assert world.map("payments/us") == {"x": 2, "y": 1}


def test_a_fork_of_the_empty_map_makes_a_config(world: World) -> None:
    reply = world.do(fork("payments/empty", 0))
    assert (reply.created, reply.version and reply.version.number) == (True, 1)
    assert world.map("payments/empty") == {}


def test_a_fork_refuses_an_existing_target_and_a_missing_source(world: World) -> None:
    with pytest.raises(ExistsError):
        world.do(fork(CONFIG))
    with pytest.raises(NotFoundError, match="nowhere"):
        world.do(fork("a", source="nowhere"))
    with pytest.raises(NotFoundError, match="no version 3; its head is 2"):
        world.do(fork("a", 3))


def test_a_map_beyond_its_limits_is_refused_and_nothing_is_written(world: World) -> None:
    with pytest.raises(LimitError):
        world.do(commit(*(change(f"k{n}", n) for n in range(1_000))))
    assert world.head == 2
