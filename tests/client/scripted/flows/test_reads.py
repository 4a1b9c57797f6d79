"""The verbs that read, against scripted answers: retries, pages, points in time, never going back."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import lamina
from lamina._flows import reads
from lamina._flows.effects import Call
from lamina._flows.operation import LASTING_TRIES, Operation
from lamina._wire.messages import version_of
from lamina._wire.rpcs import GET_VERSION
from lamina.records import Change
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.builders import Script, entries, entry, header, page, session

GONE = lamina.UnavailableError("connection refused")
NOT_FOUND = lamina.NotFoundError("no such config", reason="CONFIG_NOT_FOUND")
SILENCE = lamina.DeadlineError("silence")
TIME = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = {f"k{number:04}": number for number in range(reads.SMALL_MAP_KEYS + 1)}


class TestRetries:
    def test_a_read_is_tried_again_until_it_has_an_answer(self) -> None:
        script = Script(
            GONE, lamina.UnavailableError("x", reason="DRAINING"), lamina.DeadlineError("slow"), page(1, {})
        )
        ours = session()
        script.run(reads.open_config(ours, "app", create=False), ours)
        assert script.slept == [0.05, 0.1, 0.2]
        script.done()

    def test_pauses_stay_below_a_second(self) -> None:
        script, ours = Script(*[GONE] * 9, page(1, {})), session()
        script.run(reads.open_config(ours, "app", create=False), ours)
        assert script.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]

    def test_one_timeout_covers_all_tries(self) -> None:
        script, ours = Script(*[GONE] * 100), session(timeout=3)
        with pytest.raises(lamina.DeadlineError, match=r"no answer within 3 s.*connection refused") as caught:
            script.run(reads.open_config(ours, "app", create=False), ours)
        assert 2.9 < sum(script.slept) < 3
        assert caught.value.__suppress_context__, "its text says what the last try ended with"

    def test_each_try_has_the_rest_of_the_timeout(self) -> None:
        ours, timeouts = session(timeout=1), []
        flow = Operation(ours).ask(GET_VERSION, pb.GetVersionRequest())
        effect: Any = next(flow)
        for _try in range(3):
            timeouts.append(effect.timeout_seconds)
            ours.clock.now += 0.3  # type: ignore[attr-defined]
            flow.throw(GONE)
            effect = flow.send(None)
        assert timeouts == pytest.approx([1.0, 0.7, 0.4])

    def test_the_error_has_the_last_reason_of_each_server(self) -> None:
        """A last try that was too short for an answer does not hide the reasons of the tries before it."""
        one, other = lamina.UnavailableError("a: its certificate"), lamina.UnavailableError("b: refused")
        script, ours = Script(*[one, other] * 10, *[SILENCE] * 100), session(timeout=3, servers=2)
        with pytest.raises(lamina.DeadlineError) as caught:
            script.run(reads.open_config(ours, "app", create=False), ours)
        assert str(caught.value) == "no answer within 3 s: a: its certificate; b: refused"

    def test_a_silence_does_not_hide_what_the_server_has_said_before(self) -> None:
        """A database that is locked refuses after seconds, and the time is over before it refuses again."""
        refused = lamina.UnavailableError("the database is locked", reason="STORE_UNAVAILABLE")
        ours = session(timeout=8)
        flow = Operation(ours).ask(GET_VERSION, pb.GetVersionRequest())
        next(flow)
        ours.clock.now += 5  # type: ignore[attr-defined]
        flow.throw(refused)
        again: Any = flow.send(None)
        ours.clock.now += again.timeout_seconds  # type: ignore[attr-defined]
        with pytest.raises(lamina.DeadlineError, match="no answer within 8 s: silence; before that: the database is"):
            flow.throw(SILENCE)

    def test_a_proxy_that_answers_for_no_server_is_asked_three_times(self) -> None:
        page_of_html = lamina.UnavailableError("no gRPC status", reason="PROXY")
        script, ours = Script(*[page_of_html] * LASTING_TRIES), session()
        with pytest.raises(lamina.UnavailableError, match="no gRPC status"):
            script.run(reads.open_config(ours, "app", create=False), ours)
        script.done()

    @pytest.mark.parametrize("servers", [1, 2])
    def test_an_impatient_read_gives_up_after_each_server_refused_twice(self, servers: int) -> None:
        script, ours = Script(*[GONE] * 2 * servers), session(servers=servers)
        with pytest.raises(lamina.UnavailableError) as caught:
            script.run(reads.open_config(ours, "app", create=False, is_impatient=True), ours)
        assert caught.value is GONE
        script.done()
        assert sum(script.slept) < 0.3

    @pytest.mark.parametrize("patiently", [SILENCE, lamina.UnavailableError("x", reason="DRAINING")])
    def test_an_impatient_read_waits_for_a_slow_or_draining_server(self, patiently: lamina.LaminaError) -> None:
        script, ours = Script(*[patiently] * 5, page(1, {})), session()
        script.run(reads.open_config(ours, "app", create=False, is_impatient=True), ours)
        script.done()

    def test_pauses_begin_after_each_server_was_tried(self) -> None:
        script, ours = Script(*[GONE] * 5, page(1, {})), session(servers=3)
        script.run(reads.open_config(ours, "app", create=False), ours)
        assert script.slept == [0.05, 0.1, 0.2]

    def test_a_silent_server_leaves_time_for_the_others(self) -> None:
        """P14: it may be any of the servers, and the verb's timeout may be short."""
        for timeout, expected in ((10, [2, 4, 2, 1, 0.5]), (30, [2, 14, 2, 6, 2]), (1, [0.5, 0.25])):
            assert self.shares(timeout, *[SILENCE] * len(expected)) == expected

    def test_a_slow_server_gets_the_time_of_one_that_is_down(self) -> None:
        assert self.shares(10, SILENCE, GONE, SILENCE, GONE, GONE) == [2, 4, 4, 2, 2]
        assert self.shares(10, GONE, GONE, SILENCE, SILENCE) == [2, 2, 2, 4]

    def shares(self, timeout: float, *failures: lamina.UnavailableError) -> list[float]:
        """Return how long each try may take with two servers that fail like this."""
        ours, shares = session(timeout=timeout, servers=2), []
        flow = Operation(ours).ask(GET_VERSION, pb.GetVersionRequest())
        effect: Any = next(flow)
        for failure in failures:
            shares.append(effect.timeout_seconds)
            if failure is SILENCE:
                ours.clock.now += effect.timeout_seconds  # type: ignore[attr-defined]
            effect = flow.throw(failure)
            while not isinstance(effect, Call):
                effect = flow.send(None)
        return shares

    @pytest.mark.parametrize("reason", ["BUG", "STORE_UNUSABLE"])
    def test_an_error_that_lasts_is_retried_only_a_few_times(self, reason: str) -> None:
        script, ours = Script(*[lamina.UnavailableError("lasts", reason=reason)] * 9), session()
        with pytest.raises(lamina.UnavailableError) as caught:
            script.run(reads.open_config(ours, "app", create=False), ours)
        assert len(script.asked) == LASTING_TRIES
        assert caught.value.reason == reason
        assert not isinstance(caught.value, lamina.DeadlineError)

    def test_a_definite_error_is_raised_at_once(self) -> None:
        script = Script(lamina.PermissionDeniedError("no"))
        with pytest.raises(lamina.PermissionDeniedError):
            script.run(reads.open_config(session(), "app", create=True))
        assert script.slept == []


class TestOpen:
    def test_open_reads_the_head(self) -> None:
        script = Script(page(3, {"x": 1}))
        found = script.run(reads.open_config(session(), "app", create=False))
        assert (found.header.number, found.value("x")) == (3, 1)
        assert script.asked == [("GetVersion", pb.GetVersionRequest(config="app", view=pb.ENTRIES))]

    def test_open_reads_all_pages(self) -> None:
        script = Script(
            page(3, {"a": 1}, key_count=3, next_page_token="t1"),
            page(3, {"b": 2}, key_count=3, next_page_token="t2"),
            page(3, {"c": 3}, key_count=3),
        )
        found = script.run(reads.open_config(session(), "app", create=False))
        assert list(found) == ["a", "b", "c"]
        assert [request.page_token for _name, request in script.asked] == ["", "t1", "t2"]

    def test_a_missing_config_is_an_error_unless_it_is_created(self) -> None:
        with pytest.raises(lamina.NotFoundError):
            Script(NOT_FOUND).run(reads.open_config(session(), "app", create=False))
        found = Script(NOT_FOUND).run(reads.open_config(session(), "app", create=True))
        assert (found.header.number, found.header.config, len(found)) == (0, "app", 0)

    @pytest.mark.parametrize("name", ["\ud800", "a\x00"])
    def test_a_name_that_cannot_be_sent_is_refused(self, name: str) -> None:
        with pytest.raises(lamina.InvalidError):
            Script().run(reads.open_config(session(), name, create=False))

    def test_a_name_must_be_text(self) -> None:
        wrong: Any = 5
        with pytest.raises(TypeError):
            Script().run(reads.open_config(session(), wrong, create=False))


class TestNeverBack:
    """P13: one client never goes back, on any server."""

    def test_a_read_demands_the_newest_version_that_was_seen(self) -> None:
        ours = session()
        Script(page(3, {})).run(reads.open_config(ours, "app", create=False))
        script = Script(page(4, {}), header(4))
        script.run(reads.open_config(ours, "app", create=False))
        script.run(reads.resolve(Operation(ours), "app", None))
        assert [request.min_version for _name, request in script.asked] == [3, 4]

    def test_each_config_has_its_own_newest_version(self) -> None:
        ours = session()
        Script(page(3, {})).run(reads.open_config(ours, "app", create=False))
        script = Script(page(1, {}, config="b"))
        script.run(reads.open_config(ours, "b", create=False))
        assert script.asked[0][1].min_version == 0

    def test_the_error_says_where_both_stand(self) -> None:
        ours = session()
        Script(page(3, {})).run(reads.open_config(ours, "app", create=False))
        ahead = lamina.CursorError("ahead", reason="CURSOR_AHEAD", head=2)
        with pytest.raises(lamina.CursorError) as caught:
            Script(ahead).run(reads.open_config(ours, "app", create=False))
        assert (caught.value.cursor, caught.value.head) == ("3", 2)

    def test_another_hash_under_the_same_number_is_an_error(self) -> None:
        ours = session()
        Script(page(3, {})).run(reads.open_config(ours, "app", create=False))
        other = page(3, {})
        other.hash = b"other"
        with pytest.raises(lamina.CursorError, match="backup") as caught:
            Script(other).run(reads.open_config(ours, "app", create=False))
        assert caught.value.reason == "CURSOR_FORKED"

    def test_a_log_that_ends_too_early_is_an_error(self) -> None:
        ours = session()
        Script(page(3, {})).run(reads.open_config(ours, "app", create=False))
        listing = reads.log(ours, "app", None)
        with pytest.raises(lamina.CursorError, match="ends at version 2, this client has seen 3"):
            Script(pb.ListVersionsResponse(versions=[header(2), header(1)])).run(listing.next_page())


class TestPoints:
    def test_at_a_number(self) -> None:
        script = Script(page(2, {"x": 1}))
        found = script.run(reads.at(session(), entries({}, version=3), 2))
        assert found.header.number == 2
        assert script.asked[0][1].version == 2

    @pytest.mark.parametrize("point", [version_of(header(2)), True])
    def test_at_anything_that_is_a_number(self, point: Any) -> None:
        script = Script(page(int(point), {}))
        script.run(reads.at(session(), entries({}, version=3), point))
        assert script.asked[0][1].version == int(point)

    @pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5))])
    def test_at_a_time(self, zone: Any) -> None:
        script = Script(page(2, {}))
        script.run(reads.at(session(), entries({}, version=3), TIME.astimezone(zone)))
        assert script.asked[0][1].WhichOneof("at") == "time"
        assert script.asked[0][1].time.ToDatetime(tzinfo=UTC) == TIME

    def test_at_the_own_version_or_at_zero_costs_no_call(self) -> None:
        base = entries({"x": 1}, version=3)
        assert Script().run(reads.at(session(), base, 3)) is base
        assert len(Script().run(reads.at(session(), base, 0))) == 0

    def test_a_bad_point_is_refused(self) -> None:
        base = entries({}, version=3)
        for point in (-1, 2**63, datetime(2026, 1, 1)):  # noqa: DTZ001 - the point
            with pytest.raises(lamina.InvalidError):
                Script().run(reads.at(session(), base, point))
        for wrong in (1.0, "1", None, object()):
            with pytest.raises(TypeError):
                Script().run(reads.at(session(), base, wrong))  # type: ignore[arg-type]

    def test_diff(self) -> None:
        difference = pb.Difference(key="x", to=entry("x", 2).value)
        getattr(difference, "from").CopyFrom(entry("x", True).value)
        reply = pb.DiffVersionsResponse(differences=[difference], next_page_token="t")
        gone = pb.Difference(key="y")
        getattr(gone, "from").CopyFrom(entry("y", None).value)
        script = Script(reply, pb.DiffVersionsResponse(differences=[gone]))
        found = script.run(reads.diff(session(), "app", 1, 3))
        assert found == {"x": Change(True, 2), "y": Change(None, lamina.MISSING)}
        assert script.asked[0][1] == pb.DiffVersionsRequest(config="app", from_version=1, to_version=3)

    def test_diff_from_zero_to_the_head(self) -> None:
        script = Script(header(3), pb.DiffVersionsResponse())
        script.run(reads.diff(session(), "app", 0, None))
        request = script.asked[1][1]
        assert (request.HasField("from_version"), request.from_version, request.to_version) == (True, 0, 3)

    def test_diff_of_times(self) -> None:
        script = Script(header(1), header(2), pb.DiffVersionsResponse())
        script.run(reads.diff(session(), "app", TIME, TIME + timedelta(days=1)))
        assert [request.view for _name, request in script.asked[:2]] == [pb.HEADER, pb.HEADER]
        assert (script.asked[2][1].from_version, script.asked[2][1].to_version) == (1, 2)


class TestListings:
    def numbers(self, script: Script, listing: reads.Listing[Any]) -> list[int]:
        found: list[int] = []
        while (items := script.run(listing.next_page())) is not None:
            found += [item.number for item in items]
        return found

    def replies(self) -> Script:
        return Script(
            pb.ListVersionsResponse(versions=[header(5), header(4)], next_page_token="t"),
            pb.ListVersionsResponse(versions=[header(3), header(2)], next_page_token="u"),
            pb.ListVersionsResponse(versions=[header(1)]),
        )

    def test_a_listing_reads_all_pages(self) -> None:
        script = self.replies()
        assert self.numbers(script, reads.log(session(), "app", None)) == [5, 4, 3, 2, 1]
        assert [request.page_token for _name, request in script.asked] == ["", "t", "u"]
        assert script.asked[0][1].page_size == 0

    def test_a_limit_ends_the_listing(self) -> None:
        script = self.replies()
        assert self.numbers(script, reads.log(session(), "app", 3)) == [5, 4, 3]
        assert len(script.asked) == 2
        assert {request.page_size for _name, request in script.asked} == {3}

    def test_a_limit_of_zero_asks_for_nothing(self) -> None:
        assert self.numbers(Script(), reads.log(session(), "app", 0)) == []
        with pytest.raises(lamina.InvalidError, match="limit=-1"):
            reads.log(session(), "app", -1)

    def test_history(self) -> None:
        changes = [
            pb.KeyChange(key="x", deleted=True, version=4),
            pb.KeyChange(key="x", value=entry("x", 1).value, version=1),
        ]
        script = Script(pb.KeyHistory(changes=changes))
        listing = reads.history(session(), "app", "x", None, newest_first=True)
        found = script.run(listing.next_page())
        assert found is not None
        assert [(one.version, one.value, one.deleted) for one in found] == [(4, lamina.MISSING, True), (1, 1, False)]
        assert script.asked[0][1] == pb.GetKeyHistoryRequest(config="app", key="x", newest_first=True)

    def test_configs(self) -> None:
        summary = pb.ConfigSummary(name="a/b", head=header(7), create_time=header(1).commit_time)
        script = Script(pb.ListConfigsResponse(configs=[summary]))
        found = script.run(reads.configs(session(), "a/").next_page())
        head, first = version_of(header(7)), version_of(header(1))
        assert found == [lamina.ConfigInfo("a/b", 7, head.time, first.time)]


class TestBlame:
    def reply(self) -> pb.ConfigVersion:
        found = header(5, entries=[entry("x", 1, 2), entry("y", 1, 5)])
        found.origins.extend([header(2), header(5)])
        return found

    def test_blame_of_some_keys_is_one_call(self) -> None:
        script, base = Script(self.reply()), entries({"x": 1, "y": 1}, version=5)
        found = script.run(reads.blame(session(), base, ["y", "x"]))
        assert {key: version.number for key, version in found.items()} == {"x": 2, "y": 5}
        assert list(found) == ["x", "y"]
        assert script.asked == [
            ("GetVersion", pb.GetVersionRequest(config="app", version=5, keys=["y", "x"], view=pb.BLAME))
        ]

    def test_blame_of_all_keys(self) -> None:
        script = Script(self.reply())
        assert len(script.run(reads.blame(session(), entries({"x": 1, "y": 1}, version=5), []))) == 2
        assert script.asked[0][1].keys == []
        assert Script().run(reads.blame(session(), entries({}, version=0), [])) == {}

    def test_blame_of_more_keys_than_a_request_may_name(self) -> None:
        keys = [f"k{number:04}" for number in range(reads.READ_KEYS_LIMIT + 1)]
        reply = page(5, dict.fromkeys(keys, 1))
        reply.origins.append(header(5))
        script = Script(reply)
        assert len(script.run(reads.blame(session(), entries(dict.fromkeys(keys, 1), version=5), keys))) == len(keys)
        assert script.asked[0][1].keys == []

    def test_blame_of_a_missing_key(self) -> None:
        with pytest.raises(KeyError, match="nope"):
            Script().run(reads.blame(session(), entries({"x": 1}), ["nope"]))


class TestNewest:
    """What it costs to move to the head, and how a restored backup is noticed."""

    def test_a_small_map_is_read_whole(self) -> None:
        script, base = Script(page(4, {"x": 2}), header(3)), entries({"x": 1}, version=3)
        found = script.run(reads.newest(Operation(session()), base))
        assert (found.header.number, found.value("x")) == (4, 2)
        assert [request.view for _name, request in script.asked] == [pb.ENTRIES, pb.HEADER]

    def test_nothing_new(self) -> None:
        base = entries({"x": 1}, version=3)
        assert Script(page(3, {"x": 1})).run(reads.newest(Operation(session()), base)) is base
        large = entries(LARGE, version=3)
        script = Script(header(3))
        assert script.run(reads.newest(Operation(session()), large)) is large
        assert script.asked[0][1].view == pb.HEADER

    def test_only_the_changed_keys_of_a_large_map_are_read(self) -> None:
        base = entries(LARGE, version=3)
        log = pb.ListVersionsResponse(
            versions=[
                header(5, changed_keys=["k0001", "new"], change_count=2),
                header(4, changed_keys=["k0000"], change_count=1),
            ]
        )
        changed = header(5, entries=[entry("k0001", "b", 5), entry("new", "c", 5)])
        script = Script(header(5), header(3), log, changed)
        found = script.run(reads.newest(Operation(session()), base))
        assert script.names == ["GetVersion", "GetVersion", "ListVersions", "GetVersion"]
        assert script.asked[2][1] == pb.ListVersionsRequest(config="app", before_version=6, page_size=2)
        assert list(script.asked[3][1].keys) == ["k0000", "k0001", "new"]
        assert "k0000" not in found
        assert (found.value("k0001"), found.value("new"), found.value("k0002")) == ("b", "c", 2)
        assert (found.origin("new"), found.origin("k0002")) == (5, 3)

    @pytest.mark.parametrize(
        "log",
        [
            pb.ListVersionsResponse(versions=[header(5, changed_keys=["a"], change_count=1)]),
            pb.ListVersionsResponse(
                versions=[
                    header(5, changed_keys=["a"], change_count=101),
                    header(4, changed_keys=["b"], change_count=1),
                ]
            ),
        ],
    )
    def test_a_large_map_is_read_whole_if_the_log_does_not_name_all_keys(self, log: pb.ListVersionsResponse) -> None:
        script = Script(header(5), header(3), log, page(5, {"a": 1}))
        found = script.run(reads.newest(Operation(session()), entries(LARGE, version=3)))
        assert list(found) == ["a"]

    def test_a_large_map_that_is_far_behind_is_read_whole(self) -> None:
        script = Script(header(300), header(3), page(300, {"a": 1}))
        found = script.run(reads.newest(Operation(session()), entries(LARGE, version=3)))
        assert found.header.number == 300

    @pytest.mark.parametrize("base", [entries({"x": 1}, version=3), entries(LARGE, version=3)])
    def test_a_head_with_another_past_is_an_error(self, base: Any) -> None:
        other = header(3)
        other.hash = b"other"
        with pytest.raises(lamina.CursorError, match="version 3 of app is another one"):
            Script(page(4, {}), other).run(reads.newest(Operation(session()), base))

    def test_a_config_that_is_still_to_be_created(self) -> None:
        base = entries({}, version=0)
        assert Script(NOT_FOUND).run(reads.newest(Operation(session()), base)) is base
        assert Script(page(1, {"x": 1})).run(reads.newest(Operation(session()), base)).value("x") == 1
        with pytest.raises(lamina.NotFoundError):
            Script(NOT_FOUND).run(reads.newest(Operation(session()), entries({"x": 1})))


class TestRateRefusals:
    """A server that says when to call again is called again then, within the verb's timeout."""

    SOON = lamina.LimitError("too many calls", reason="TOO_MANY", retry_seconds=0.5)

    def test_a_read_waits_as_long_as_the_server_asks(self) -> None:
        script, ours = Script(self.SOON, self.SOON, page(1, {})), session()
        script.run(reads.open_config(ours, "app", create=False), ours)
        assert script.slept == [0.75, 0.75], "half as long again, so that not all come back at once"
        script.done()

    def test_it_does_not_wait_longer_than_the_timeout(self) -> None:
        script, ours = Script(self.SOON, self.SOON), session(timeout=1)
        with pytest.raises(lamina.LimitError) as caught:
            script.run(reads.open_config(ours, "app", create=False), ours)
        assert caught.value is self.SOON
        assert script.slept == [0.75], "of the second wait there is no time left"

    def test_a_limit_without_a_time_is_raised_at_once(self) -> None:
        script, ours = Script(lamina.LimitError("too large", reason="TOO_LARGE")), session()
        with pytest.raises(lamina.LimitError):
            script.run(reads.open_config(ours, "app", create=False), ours)
        assert script.slept == []
