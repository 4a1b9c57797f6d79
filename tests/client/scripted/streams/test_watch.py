"""A watch against scripted streams: its changes, its cursor, and how it resumes."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina._streams.cursor import format_cursor, parse_cursor
from lamina._streams.queue import WatchQueue
from lamina._streams.watch import AHEAD_TRIES, REOPEN_CEILING_SECONDS
from lamina._wire.messages import version_of
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.builders import Clock, Script, change, deletion, header, session

BROKEN = lamina.UnavailableError("the link broke")


def message(*parts: pb.VersionChanges, bookmark: int | None = None) -> pb.WatchKeyHistoryResponse:
    mark = None if bookmark is None else pb.Bookmark(version=bookmark, hash=header(bookmark).hash)
    return pb.WatchKeyHistoryResponse(changes=parts, bookmark=mark)


def changes(number: int, *keys: str, more: bool = False) -> pb.VersionChanges:
    return pb.VersionChanges(version=header(number), changes=[change(key, number) for key in keys], more=more)


def cursor(number: int) -> str:
    return f"{number}.{header(number).hash.hex()}"


def watch_queue(*keys: str, at: int = 3, after: Any = None, prefixes: tuple[str, ...] = ()) -> WatchQueue:
    return WatchQueue(session(), version_of(header(at)), keys, prefixes, after)


def take(script: Script, watch: WatchQueue, number: int) -> list[tuple[int, str]]:
    taken = [script.run(watch.next_change()) for _ in range(number)]
    return [(one.version, one.key) for one in taken]


def test_it_asks_for_its_keys_after_its_version() -> None:
    watch, script = watch_queue("x", prefixes=("db/",)), Script(message(changes(4, "x")))
    script.run(watch.next_change())
    after = pb.Cursor(version=3, hash=header(3).hash)
    assert script.opened == [pb.WatchKeyHistoryRequest(config="app", keys=["x"], prefixes=["db/"], after=after)]


def test_a_change_has_its_version_author_and_message() -> None:
    watch = watch_queue()
    script = Script(message(pb.VersionChanges(version=header(4), changes=[change("a", [1]), deletion("b")])))
    set_, deleted = (script.run(watch.next_change()) for _ in range(2))
    at = version_of(header(4)).time
    assert set_ == lamina.KeyChange("a", [1], deleted=False, version=4, author="ann", message="message 4", time=at)
    assert deleted == lamina.KeyChange(
        "b", lamina.MISSING, deleted=True, version=4, author="ann", message="message 4", time=at
    )


def test_the_cursor_moves_with_a_version_s_last_change() -> None:
    watch, script = watch_queue(), Script(message(changes(4, "a", "b"), changes(5, "c")))
    assert watch.cursor == cursor(3)
    moved = []
    for _ in range(3):
        script.run(watch.next_change())
        moved.append(watch.cursor)
    assert moved == [cursor(3), cursor(4), cursor(5)]


def test_it_gives_whole_versions() -> None:
    watch, script = watch_queue(), Script(message(changes(4, "a", "b"), changes(6, "c")))
    version = script.run(watch.next_version())
    assert (version.version, [one.key for one in version.changes], version.author) == (4, ["a", "b"], "ann")
    assert version.hash == header(4).hash.hex()
    assert watch.cursor == cursor(4)
    assert script.run(watch.next_version()).version == 6


def test_a_version_of_which_a_change_was_taken_is_given_whole() -> None:
    watch, script = watch_queue(), Script(message(changes(4, "a", "b"), changes(5, "c")))
    assert take(script, watch, 1) == [(4, "a")]
    assert len(script.run(watch.next_version()).changes) == 2
    assert take(script, watch, 1) == [(5, "c")]


def test_a_split_version_is_joined() -> None:
    watch = watch_queue()
    script = Script(message(changes(4, "a", more=True)), message(changes(4, "b", more=True)), message(changes(4, "c")))
    version = script.run(watch.next_version())
    assert [one.key for one in version.changes] == ["a", "b", "c"]


def test_a_cut_within_a_split_version() -> None:
    """Cut within a split version: the next stream sends it again from its first part."""
    watch = watch_queue()
    script = Script(
        message(changes(4, "a", "b"), changes(5, "a"), changes(6, "a", more=True)),
        BROKEN,
        message(changes(6, "a", more=True)),
        message(changes(6, "b")),
    )
    assert take(script, watch, 5) == [(4, "a"), (4, "b"), (5, "a"), (6, "a"), (6, "b")]
    assert [request.after.version for request in script.opened] == [3, 5]
    assert script.opened[1].after.hash == header(5).hash


def test_a_change_that_is_sent_twice_is_given_once() -> None:
    watch = watch_queue()
    script = Script(
        message(changes(3, "old"), changes(4, "a")),
        BROKEN,
        message(changes(4, "a"), bookmark=4),
        message(changes(5, "b")),
    )
    assert take(script, watch, 2) == [(4, "a"), (5, "b")]


def test_a_bookmark_moves_the_cursor_after_the_changes_before_it() -> None:
    watch = watch_queue("x")
    script = Script(message(changes(4, "x"), bookmark=6), message(bookmark=8), message(changes(9, "x")))
    script.run(watch.next_change())
    assert watch.cursor == cursor(6)
    script.run(watch.next_change())
    assert watch.cursor == cursor(9)
    script = Script(message(bookmark=12), BROKEN, message(changes(13, "x")))
    script.run(watch.next_change())
    assert script.opened[-1].after.version == 12


def test_an_older_bookmark_does_not_move_the_cursor_back() -> None:
    watch, script = watch_queue(), Script(message(changes(4, "x"), bookmark=2), message(changes(5, "x")))
    take(script, watch, 1)
    assert watch.cursor == cursor(4)


@pytest.mark.parametrize(
    ("after", "asked", "shown"),
    [
        (None, pb.Cursor(version=3, hash=header(3).hash), cursor(3)),
        (3, pb.Cursor(version=3, hash=header(3).hash), cursor(3)),
        (1, pb.Cursor(version=1), "1"),
        (0, pb.Cursor(), "0"),
        (version_of(header(2)), pb.Cursor(version=2, hash=header(2).hash), cursor(2)),
        (cursor(2), pb.Cursor(version=2, hash=header(2).hash), cursor(2)),
        ("2", pb.Cursor(version=2), "2"),
    ],
)
def test_it_begins_after_a_version_or_a_cursor(after: Any, asked: pb.Cursor, shown: str) -> None:
    watch, script = watch_queue(after=after), Script(message(changes(4, "x")))
    assert watch.cursor == shown
    script.run(watch.next_change())
    assert script.opened[0].after == asked
    assert script.opened[0].HasField("after")


def test_it_begins_after_a_time() -> None:
    """The version is looked up when the watch begins, and the watch waits for it."""
    watch = watch_queue(after=datetime(2026, 1, 1, tzinfo=UTC))
    assert watch.cursor == ""
    script = Script(*[BROKEN] * 60, header(2), message(changes(3, "x")))
    ours = watch._session
    script.run(watch.next_change(), ours)
    request = next(request for name, request in script.asked if name == "GetVersion")
    assert (request.view, request.time.ToDatetime(tzinfo=UTC)) == (pb.HEADER, datetime(2026, 1, 1, tzinfo=UTC))
    assert script.opened[0].after == pb.Cursor(version=2, hash=header(2).hash)
    assert watch.cursor == cursor(3)


@pytest.mark.parametrize(
    "after", ["", "x", "-1", "1.", "1.ab", "1." + "g" * 64, "٣", "99999999999999999999", -1, 2**63]
)
def test_a_bad_cursor_is_refused(after: Any) -> None:
    with pytest.raises(lamina.InvalidError):
        watch_queue(after=after)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(lamina.InvalidError, match="zone"):
        watch_queue(after=datetime(2026, 1, 1))  # noqa: DTZ001 - the point


@pytest.mark.parametrize("after", [1.5, [3], object()])
def test_after_of_another_type_is_a_type_error(after: Any) -> None:
    with pytest.raises(TypeError):
        watch_queue(after=after)


def test_a_cursor_is_formatted_and_parsed_without_loss() -> None:
    for text in ("0", "7", cursor(5)):
        assert format_cursor(parse_cursor(text)) == text


def test_pauses_grow_until_a_change_arrives() -> None:
    watch = watch_queue()
    script = Script(
        *[BROKEN] * 10, message(changes(4, "x")), BROKEN, message(bookmark=4), BROKEN, message(changes(5, "x"))
    )
    take(script, watch, 2)
    # In these tests, each random pause has its upper limit. The bookmark is not new, so it does not reset the pause.
    assert script.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, *[REOPEN_CEILING_SECONDS] * 4, 0.2, 0.4]
    assert len(script.opened) == 13


def test_pauses_begin_after_each_server_was_tried() -> None:
    """P14: counted from the last change; then the pauses grow as with one server."""
    watch = WatchQueue(session(servers=3), version_of(header(3)), (), (), None)
    script = Script(*[BROKEN] * 5, message(changes(4, "x")), *[BROKEN] * 2, message(changes(5, "x")))
    take(script, watch, 2)
    assert script.slept == [0.2, 0.4, 0.8]
    assert len(script.opened) == 8


def test_a_stream_that_lasted_is_opened_again_without_a_long_pause() -> None:
    """P14: also on an idle config, where a connection's age ends a stream twice an hour and no change arrives."""
    made = session()
    clock = made.clock
    assert isinstance(clock, Clock)
    watch = WatchQueue(made, version_of(header(3)), (), (), None)

    def ended_after(seconds: float) -> Callable[[Any], lamina.UnavailableError]:
        def end(_request: Any) -> lamina.UnavailableError:
            clock.now += seconds
            return BROKEN

        return end

    lasting = ended_after(REOPEN_CEILING_SECONDS)
    script = Script(message(bookmark=3), lasting, lasting, lasting, ended_after(9), lasting, message(changes(4, "x")))
    take(script, watch, 1)
    assert script.slept == [0.2, 0.2, 0.2, 0.4, 0.2]


def test_pauses_stay_below_the_ceiling() -> None:
    watch, script = watch_queue(), Script(*[BROKEN] * 3000, message(changes(4, "x")))
    take(script, watch, 1)
    assert max(script.slept) == REOPEN_CEILING_SECONDS


@pytest.mark.parametrize(
    "error",
    [
        lamina.CursorError("ahead", reason="CURSOR_AHEAD", head=2),
        lamina.PermissionDeniedError("no", reason="NOT_ALLOWED"),
        lamina.UnauthenticatedError("who", reason="BAD_CREDENTIALS"),
        lamina.InvalidError("bad", reason="BAD_KEY"),
        lamina.LimitError("many", reason="TOO_MANY"),
    ],
)
def test_a_definite_error_ends_the_watch(error: lamina.LaminaError) -> None:
    watch, script = watch_queue(), Script(error)
    with pytest.raises(type(error)) as caught:
        take(script, watch, 1)
    assert script.slept == []
    if isinstance(caught.value, lamina.CursorError):
        assert (caught.value.cursor, caught.value.head) == (cursor(3), 2)


def test_a_watch_that_was_open_before_waits_for_a_place() -> None:
    """After a restart thousands come back at once. A server that is full now may have room later."""
    full = lamina.LimitError("many", reason="TOO_MANY")
    watch, script = watch_queue(), Script(message(bookmark=3), BROKEN, full, full, message(changes(4, "x")))
    take(script, watch, 1)
    assert script.slept == [0.2, 0.4, 0.8]
    with pytest.raises(lamina.LimitError):
        take(Script(BROKEN, lamina.LimitError("large", reason="TOO_LARGE")), watch, 1)


AHEAD = lamina.CursorError("version 4 is ahead of its head, version 0", reason="CURSOR_AHEAD", head=0)


def test_one_server_that_is_behind_does_not_end_the_watch() -> None:
    """P9: the address may lead to a wrong server for a moment. The watch asks again and goes on without a gap."""
    answers = [message(changes(4, "x")), BROKEN, AHEAD, message(changes(5, "x"))]
    watch, script = watch_queue(), Script(*answers)
    assert take(script, watch, 2) == [(4, "x"), (5, "x")]
    assert [request.after.version for request in script.opened] == [3, 4, 4]


def test_a_version_that_a_read_has_seen_is_asked_for_again() -> None:
    """P9: the first stream was lost before its first message, and the next one reached a wrong server."""
    watch, script = watch_queue(), Script(BROKEN, AHEAD, message(changes(4, "x")))
    watch._session.horizon.saw(version_of(header(3)))
    assert take(script, watch, 1) == [(4, "x")]


@pytest.mark.parametrize(("servers", "tries"), [(1, AHEAD_TRIES), (7, 8)])
def test_a_version_that_no_server_has_ends_the_watch(servers: int, tries: int) -> None:
    """P10, P13: after a restored backup the error is explicit, and comes within seconds."""
    watch = WatchQueue(session(servers=servers), version_of(header(3)), (), (), None)
    script = Script(message(changes(4, "x")), BROKEN, *[AHEAD] * tries)
    assert take(script, watch, 1) == [(4, "x")]
    with pytest.raises(lamina.CursorError) as caught:
        take(script, watch, 1)
    script.done()
    assert (caught.value.cursor, caught.value.head) == (cursor(4), 0)
    assert sum(script.slept) < 2


def test_another_hash_ends_the_watch_at_once() -> None:
    """P10: a server that is only behind has no other version under that number."""
    forked = lamina.CursorError("another hash", reason="CURSOR_FORKED", head=4)
    watch, script = watch_queue(), Script(message(changes(4, "x")), BROKEN, forked)
    take(script, watch, 1)
    with pytest.raises(lamina.CursorError):
        take(script, watch, 1)


def test_a_change_with_another_hash_than_a_read_saw_is_an_error() -> None:
    """As after a restored backup: version 4 is another version than before."""
    watch, script = watch_queue(), Script(message(changes(4, "x")))
    watch._session.horizon.saw(version_of(pb.ConfigVersion(config="app", version=4, hash=b"other")))
    with pytest.raises(lamina.CursorError, match="backup"):
        take(script, watch, 1)


def streams(rng: random.Random, truth: dict[int, list[str]], begin: int) -> Iterator[Any]:
    """Serve all of `truth` after a version, with random cuts, splits and bookmarks."""
    position = begin
    while position < max(truth, default=0):
        parts = []
        for number in sorted(number for number in truth if number > position):
            pieces = [[key] for key in truth[number]] if rng.random() < 0.5 else [truth[number]]
            for index, piece in enumerate(pieces):
                last = index == len(pieces) - 1
                parts.append(changes(number, *piece, more=not last))
                if rng.random() < 0.4:
                    yield message(*parts, bookmark=number if last and rng.random() < 0.3 else None)
                    parts = []
                    if last:
                        position = number
                    if rng.random() < 0.5:
                        yield BROKEN
                        break
            else:
                continue
            break
        else:
            yield message(*parts)
            return


@given(
    st.dictionaries(st.integers(1, 12), st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)),
    st.randoms(),
)
def test_broken_streams_neither_miss_nor_double_a_change(truth: dict[int, list[str]], rng: random.Random) -> None:
    """P9: ordered, unique, reliable, atomic."""
    watch = watch_queue(at=0, after=0)
    script = Script(*streams(rng, truth, 0))
    expected = [(number, key) for number in sorted(truth) for key in truth[number]]
    taken = []
    for _ in expected:
        one = script.run(watch.next_change())
        taken.append((one.version, one.key))
        # The cursor never passes the last version that was taken whole.
        whole = [number for number in sorted(truth) if all((number, key) in taken for key in truth[number])]
        assert int(watch.cursor.split(".")[0]) == max(whole, default=0)
    assert taken == expected


def test_the_random_streams_do_break() -> None:
    truth = {number: ["a", "b"] for number in range(1, 13)}
    made = list(islice(streams(random.Random(1), truth, 0), 100))
    assert any(one is BROKEN for one in made)
    assert any(part.more for one in made if one is not BROKEN for part in one.changes)
