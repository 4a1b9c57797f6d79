"""The verbs that write, against scripted answers: the requests, the draft afterwards, and open writes."""

from collections.abc import Callable
from typing import Any

import pytest

import lamina
from lamina._flows import writes
from lamina._flows.conflicts import DELETION_CALLS
from lamina._flows.operation import CERTAIN_SECONDS, NOTHING, OPEN
from lamina._flows.session import Session
from lamina._mapping.draft import Draft
from lamina._mapping.entries import Entries
from lamina._mapping.values import dump, encode
from lamina._wire.messages import version_of
from lamina._wire.status import ReportedConflictError
from lamina.records import Change
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.builders import Script, change, deletion, entries, entry, header, page, session
from tests.support.bundles import history

CUT = lamina.UnavailableError("the link broke")
REFUSED = lamina.UnavailableError(f"the database is away{NOTHING}", reason="STORE_UNAVAILABLE", wrote_nothing=True)
OVER = [CUT] * 99  # more than the timeout has room for


def draft(**content: Any) -> Draft:
    return Draft(entries(content or {"x": 27, "y": 450}, version=3))


def commit_reply(number: int, *, created: bool = True, merged: bool = False) -> pb.CommitResponse:
    return pb.CommitResponse(version=header(number), created=created, merged=merged)


def commit(
    config: Draft, script: Script, message: str = "", *, ours: Session | None = None, **options: bool
) -> lamina.Version:
    ours = ours or session()
    flow = writes.commit(ours, config._stage, message, **{"merge": True, "dry_run": False, **options})
    return script.run(flow, ours)


def refresh(config: Draft, script: Script, resolve: Any = None) -> None:
    ours = session()
    script.run(writes.refresh(ours, config._stage, resolve), ours)


def value(data: Any) -> pb.Value:
    return dump(encode(data, key="k"))


class TestCommit:
    def test_a_commit_sends_the_changes_and_their_base(self) -> None:
        config, script = draft(x=27, y=450, n=1), Script(commit_reply(4))
        config["x"] = 28
        del config["y"]
        config["n"] += 1
        version = commit(config, script, "raise x")
        assert version == version_of(header(4))
        assert script.asked == [
            (
                "Commit",
                pb.CommitRequest(
                    config="app",
                    base_version=3,
                    base_hash=header(3).hash,
                    changes=[change("n", 2), change("x", 28), deletion("y")],
                    message="raise x",
                    request_id="id-1",
                    merge_policy=pb.MERGE_DISJOINT,
                    read_keys=["n"],
                    changes_limit_bytes=writes.CHANGES_LIMIT_BYTES,
                ),
            )
        ]

    def test_the_base_of_a_new_config_is_version_zero(self) -> None:
        config, script = Draft(entries({}, version=0)), Script(commit_reply(1))
        config["x"] = 1
        commit(config, script)
        request = script.asked[0][1]
        assert (request.HasField("base_version"), request.base_version, request.base_hash) == (True, 0, b"")

    def test_a_commit_on_the_head_is_one_call(self) -> None:
        config, script = draft(), Script(commit_reply(4))
        config["x"] = 28
        config["z"] = [1]
        del config["y"]
        commit(config, script)
        assert config == {"x": 28, "z": [1]}
        assert (config.version, config.changes) == (4, {})
        assert (config.origin("x"), config.origin("z")) == (4, 4)
        assert config._stage.base.header == version_of(header(4))

    def test_a_merged_commit_s_reply_brings_the_changes_of_others(self) -> None:
        config, reply = draft(x=27, y=450, n=1), commit_reply(5, merged=True)
        reply.has_changes = True
        reply.version.entries.extend([entry("a", 1, 4), entry("x", 28, 5)])
        reply.deleted_keys.append("y")
        script = Script(reply)
        config["x"] = 28
        commit(config, script)
        assert config == {"a": 1, "n": 1, "x": 28}
        assert list(config) == ["a", "n", "x"]
        assert {key: config.origin(key) for key in config} == {"a": 4, "n": 3, "x": 5}
        assert (config.version, config.changes, script.names) == (5, {}, ["Commit"])

    def test_a_merged_commit_reads_the_changes_that_its_reply_does_not_bring(self) -> None:
        config, script = draft(), Script(commit_reply(5, merged=True), page(5, {"x": 28, "y": 451}))
        config["x"] = 28
        commit(config, script)
        assert config == {"x": 28, "y": 451}
        assert (config.version, config.changes) == (5, {})
        assert script.names == ["Commit", "GetVersion"]

    def test_a_merged_commit_builds_on_what_another_draft_of_this_client_has_committed(self) -> None:
        past, ours = history([{"x": 27, "y": 450}, {"x": 28}, {"y": lamina.MISSING}], "app"), session()
        drafts = [
            Draft(Entries(version_of(past[0].version), {"x": entry("x", 27), "y": entry("y", 450)})) for _ in "ab"
        ]
        drafts[0]["x"] = 28
        commit(drafts[0], Script(pb.CommitResponse(version=past[1].version, created=True)), ours=ours)
        del drafts[1]["y"]
        commit(drafts[1], Script(pb.CommitResponse(version=past[2].version, created=True, merged=True)), ours=ours)
        assert drafts[1] == {"x": 28}
        assert (drafts[1].version, drafts[1].origin("x")) == (3, 2)

    def test_a_merged_commit_builds_on_no_other_version_of_the_same_number(self) -> None:
        """The parent's number is the same, but the server has restored a backup in the meantime."""
        seen, ours = history([{"x": 27}, {"x": 28}], "app"), session()
        past = history([{"x": 27}, {"x": 29}, {"y": 450}], "app")
        base = Entries(version_of(seen[0].version), {"x": entry("x", 27)})
        drafts = [Draft(base), Draft(base)]
        drafts[0]["x"] = 28
        commit(drafts[0], Script(pb.CommitResponse(version=seen[1].version, created=True)), ours=ours)
        drafts[1]["y"] = 450
        reply = pb.CommitResponse(version=past[2].version, created=True, merged=True)
        past[2].version.entries.extend([entry("x", 29, 2), entry("y", 450, 3)])
        commit(drafts[1], Script(reply, past[2].version), ours=ours)
        assert drafts[1] == {"x": 29, "y": 450}

    def test_a_commit_of_what_is_committed_already_moves_to_the_head(self) -> None:
        """Another client made the same change."""
        config, script = draft(), Script(commit_reply(4, created=False), page(4, {"x": 28, "y": 450}))
        config["x"] = 28
        assert commit(config, script).number == 4
        assert (config.version, config.changes) == (4, {})

    def test_a_commit_forgets_what_was_read(self) -> None:
        config = draft(n=1)
        config["n"] += 1
        commit(config, Script(commit_reply(4)))
        config["n"] = 7
        assert config._stage.declared_reads() == []

    def test_a_commit_without_changes_moves_to_the_head(self) -> None:
        config, script = draft(), Script(page(5, {"x": 1}), header(3))
        assert commit(config, script).number == 5
        assert (config.version, config["x"]) == (5, 1)
        assert "Commit" not in script.names

    def test_a_commit_without_changes_at_the_head_returns_the_head(self) -> None:
        config, script = draft(), Script(page(3, {"x": 27, "y": 450}))
        assert commit(config, script) == version_of(header(3))

    def test_a_commit_without_changes_does_not_create_a_config(self) -> None:
        config = Draft(entries({}, version=0))
        version = commit(config, Script(lamina.NotFoundError("none", reason="CONFIG_NOT_FOUND")))
        assert (version.number, version.hash) == (0, "")

    def test_a_commit_without_merging_requires_its_base(self) -> None:
        config, script = draft(), Script(commit_reply(4))
        config["x"] = 28
        commit(config, script, merge=False)
        assert script.asked[0][1].merge_policy == pb.REQUIRE_BASE

    def test_a_commit_without_merging_and_changes_is_refused_if_the_head_moved(self) -> None:
        config = draft()
        with pytest.raises(lamina.ConflictError, match="app has moved on to version 4") as caught:
            commit(config, Script(page(4, {"x": 1}), header(3)), merge=False)
        assert caught.value.head == 4
        assert config.version == 3

    def test_a_dry_run_does_not_commit_and_does_not_move_the_draft(self) -> None:
        config, script = draft(), Script(pb.CommitResponse(version=pb.ConfigVersion(parent=4), merged=True))
        config["x"] = 28
        version = commit(config, script, "try", dry_run=True)
        assert (version.number, version.hash, version.config) == (0, "", "app")
        assert script.asked[0][1].validate_only
        assert script.asked[0][1].request_id == ""
        assert (config.version, config.changes) == (3, {"x": Change(27, 28)})

    def test_a_dry_run_without_changes_returns_the_head(self) -> None:
        assert commit(draft(), Script(header(4)), dry_run=True).number == 4
        assert commit(Draft(entries({}, version=0)), Script(), dry_run=True).number == 0

    @pytest.mark.parametrize("message", [5, None, "\ud800", "a\x00"])
    def test_a_message_that_cannot_be_sent_is_refused(self, message: Any) -> None:
        config = draft()
        config["x"] = 1
        with pytest.raises((TypeError, lamina.InvalidError)):
            commit(config, Script(), message)
        assert config.changes

    @pytest.mark.parametrize(
        "error",
        [lamina.LimitError("big", reason="TOO_LARGE"), lamina.PermissionDeniedError("no", reason="NOT_ALLOWED")],
    )
    def test_a_definite_error_keeps_the_changes_and_leaves_no_open_write(self, error: lamina.LaminaError) -> None:
        config = draft()
        config["x"] = 28
        with pytest.raises(type(error)) as caught:
            commit(config, Script(error))
        assert caught.value.request_id == "id-1"
        assert config.changes == {"x": Change(27, 28)}
        assert config._stage.unresolved is None

    def test_an_error_that_is_not_from_the_server_leaves_the_write_open(self) -> None:
        """A proxy, or gRPC itself, refused the last try. An earlier try may have reached the server."""
        config = draft()
        config["x"] = 28
        with pytest.raises(lamina.LimitError):
            commit(config, Script(CUT, lamina.LimitError("too big for the proxy")))
        again = Script(commit_reply(4))
        commit(config, again)
        assert again.asked[0][1].request_id == "id-1"

    def test_a_commit_that_a_proxy_refused_is_not_open(self) -> None:
        """So a smaller draft is a new commit, and the one that was too large is not sent again before it."""
        config = draft()
        config["x"] = 28
        with pytest.raises(lamina.LimitError):
            commit(config, Script(lamina.LimitError("413", reason="PROXY")))
        assert config._stage.unresolved is None

    def test_a_commit_that_a_proxy_refused_after_a_lost_try_is_open(self) -> None:
        """Both in the same commit, and in the next one, which resumes it."""
        config = draft()
        config["x"] = 28
        with pytest.raises(lamina.LimitError):
            commit(config, Script(CUT, lamina.LimitError("413", reason="PROXY")))
        with pytest.raises(lamina.PermissionDeniedError):
            commit(config, Script(lamina.PermissionDeniedError("403", reason="PROXY")))
        again = Script(commit_reply(4))
        commit(config, again)
        assert again.asked[0][1].request_id == "id-1"


class TestOpenWrites:
    """P8: a commit happens exactly once."""

    def test_all_tries_have_the_same_request_id(self) -> None:
        config, script = draft(), Script(CUT, CUT, commit_reply(4))
        config["x"] = 28
        commit(config, script)
        assert len(script.asked) == 3
        assert len({request.SerializeToString() for _name, request in script.asked}) == 1

    def interrupted(self, **options: Any) -> tuple[Draft, pb.CommitRequest]:
        config, script = draft(), Script(*OVER)
        config["x"] = 28
        with pytest.raises(lamina.UnavailableError) as caught:
            commit(config, script, "raise x", **options)
        assert caught.value.request_id == "id-1"
        assert config.changes == {"x": Change(27, 28)}
        return config, script.asked[0][1]

    def later(self) -> Session:
        """Make a session that would give other ids."""
        return Session(10.0, new_request_id=lambda: "another")

    def test_committing_the_same_draft_again_resumes_the_commit(self) -> None:
        config, first = self.interrupted()
        script = Script(commit_reply(4))
        assert commit(config, script, "raise x", ours=self.later()).number == 4
        assert script.asked == [("Commit", first)]
        assert config.changes == {}

    def test_a_draft_that_was_changed_and_changed_back_resumes_the_commit(self) -> None:
        config, first = self.interrupted()
        config["x"] = 99
        config["x"] = 28
        script = Script(commit_reply(4))
        commit(config, script, "raise x", ours=self.later())
        assert script.asked == [("Commit", first)]

    def test_a_changed_draft_resolves_the_open_write_first(self) -> None:
        """The worked example of writes.py."""
        config, first = self.interrupted()
        config["y"] = 451
        script = Script(commit_reply(4), commit_reply(5))
        assert commit(config, script, "and y", ours=self.later()).number == 5
        assert script.asked[0] == ("Commit", first)
        second = script.asked[1][1]
        assert (second.base_version, second.request_id, second.message) == (4, "another", "and y")
        assert list(second.changes) == [change("y", 451)]
        assert config == {"x": 28, "y": 451}

    def test_a_key_that_was_changed_again_is_committed_again(self) -> None:
        config, _first = self.interrupted()
        config["x"] = 29
        script = Script(commit_reply(4), commit_reply(5))
        commit(config, script, ours=self.later())
        assert list(script.asked[1][1].changes) == [change("x", 29)]

    def test_a_key_that_was_changed_back_is_committed_again(self) -> None:
        config, _first = self.interrupted()
        config["x"] = 27
        assert config.changes == {}
        script = Script(commit_reply(4), commit_reply(5))
        commit(config, script, ours=self.later())
        assert list(script.asked[1][1].changes) == [change("x", 27)]

    def test_another_message_does_not_commit_the_changes_twice(self) -> None:
        config, first = self.interrupted()
        script = Script(commit_reply(4))
        assert commit(config, script, "another message", ours=self.later()).number == 4
        assert script.asked == [("Commit", first)]
        assert config.changes == {}

    def test_the_resumed_commit_may_be_a_merge(self) -> None:
        config, _first = self.interrupted()
        config["z"] = 1
        script = Script(commit_reply(5, merged=True), page(5, {"x": 28, "y": 777}), commit_reply(6))
        commit(config, script, ours=self.later())
        assert (script.asked[2][1].base_version, list(script.asked[2][1].changes)) == (5, [change("z", 1)])
        assert config == {"x": 28, "y": 777, "z": 1}

    def test_a_key_staged_after_the_open_write_can_conflict(self) -> None:
        config, first = self.interrupted()
        config["y"] = 451
        theirs = header(5, entries=[entry("y", 777, 4)], origins=[header(4, author="bob")])
        answers: list[Any] = [commit_reply(5, merged=True), page(5, {"x": 28, "y": 777}), theirs]
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, Script(*answers), ours=self.later())
        assert caught.value.conflicts == {"y": lamina.Conflict("y", 450, 777, 451, 4, "bob")}
        assert config.changes == {"x": Change(27, 28), "y": Change(450, 451)}
        # Refresh resolves the open write again, under the same id, and then the conflict.
        script = Script(*answers[:2], page(5, {"x": 28, "y": 777}))
        refresh(config, script, "yours")
        assert script.asked[0] == ("Commit", first)
        assert config.changes == {"y": Change(777, 451)}
        assert config._stage.unresolved is None

    def test_an_open_write_that_is_refused_is_committed_with_the_new_changes(self) -> None:
        config, _first = self.interrupted()
        config["y"] = 451
        script = Script(ReportedConflictError("no", pb.Conflict(head_version=4)), commit_reply(4))
        commit(config, script, ours=self.later())
        second = script.asked[1][1]
        assert (second.base_version, second.request_id) == (3, "another")
        assert list(second.changes) == [change("x", 28), change("y", 451)]

    def test_an_increment_is_not_lost_or_doubled(self) -> None:
        config, script = draft(n=5), Script(*OVER)
        config["n"] += 1
        with pytest.raises(lamina.UnavailableError):
            commit(config, script)
        config["n"] += 1
        script = Script(commit_reply(4), commit_reply(5))
        commit(config, script, ours=self.later())
        assert list(script.asked[1][1].changes) == [change("n", 7)]

    def test_refresh_resolves_the_open_write(self) -> None:
        config, first = self.interrupted()
        script = Script(commit_reply(4), page(4, {"x": 28, "y": 450}))
        refresh(config, script)
        assert script.asked[0] == ("Commit", first)
        assert (config.version, config.changes) == (4, {})

    def test_discard_forgets_the_open_write(self) -> None:
        config, _first = self.interrupted()
        config.discard()
        config["y"] = 1
        script = Script(commit_reply(4))
        commit(config, script, ours=self.later())
        assert script.asked[0][1].request_id == "another"

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit()])
    def test_ctrl_c_leaves_the_write_open(self, interruption: BaseException) -> None:
        config, script = draft(), Script(interruption)
        config["x"] = 28
        with pytest.raises(type(interruption)):
            commit(config, script)
        first = script.asked[0]
        script = Script(commit_reply(4))
        commit(config, script, ours=self.later())
        assert script.asked == [first]

    @pytest.mark.parametrize(
        ("failures", "wrote_nothing"),
        [([REFUSED] * 99, True), ([CUT, *[REFUSED] * 99], False), ([REFUSED, CUT, *[REFUSED] * 99], False)],
    )
    def test_its_error_says_whether_it_may_have_been_written(self, failures: list[Any], wrote_nothing: bool) -> None:
        """Each try counts: the last one was refused in all of these."""
        config = draft()
        config["x"] = 28
        with pytest.raises(lamina.DeadlineError) as caught:
            commit(config, Script(*failures))
        outcome = NOTHING if wrote_nothing else OPEN
        assert str(caught.value) == f"no answer within 10 s: the database is away{outcome}"
        assert (caught.value.reason, caught.value.wrote_nothing) == ("STORE_UNAVAILABLE", wrote_nothing)

    def test_a_commit_that_was_not_written_is_not_open(self) -> None:
        """Another draft is committed without it."""
        config, script = draft(), Script(*[REFUSED] * 99)
        config["x"] = 28
        with pytest.raises(lamina.DeadlineError):
            commit(config, script)
        config["x"] = 29
        script = Script(commit_reply(4))
        commit(config, script, ours=self.later())
        assert [(request.request_id, len(request.changes)) for _name, request in script.asked] == [("another", 1)]

    def test_a_last_try_does_not_make_it_uncertain(self) -> None:
        """It would be cut off by the verb's timeout, and might have written."""
        config, ours, script = draft(), session(timeout=10), Script(*[REFUSED] * 99)
        config["x"] = 28
        with pytest.raises(lamina.DeadlineError):
            commit(config, script, ours=ours)
        assert 10 - CERTAIN_SECONDS < sum(script.slept) < 10 - CERTAIN_SECONDS / 2

    def test_the_error_of_a_resumed_commit_does_not_say_that_nothing_was_written(self) -> None:
        config, _first = self.interrupted()
        with pytest.raises(lamina.DeadlineError, match=OPEN) as caught:
            commit(config, Script(*[REFUSED] * 99))
        assert not caught.value.wrote_nothing

    def test_a_merged_commit_stays_open_while_the_head_cannot_be_read(self) -> None:
        config, script = draft(), Script(commit_reply(5, merged=True), *OVER)
        config["x"] = 28
        with pytest.raises(lamina.UnavailableError, match=r"^version 5 is written, but cannot be read: ") as caught:
            commit(config, script)
        assert caught.value.request_id == "id-1"
        first = script.asked[0]
        script = Script(commit_reply(5, merged=True), page(5, {"x": 28, "y": 1}))
        assert commit(config, script, ours=self.later()).number == 5
        assert script.asked[0] == first


def conflicting(*conflicts: pb.KeyConflict, head: int = 5, truncated: bool = False) -> ReportedConflictError:
    count = len(conflicts)
    return ReportedConflictError(
        "x", pb.Conflict(head_version=head, conflicts=conflicts, conflict_count=count, truncated=truncated)
    )


class TestConflicts:
    def test_the_error_has_what_the_server_reports(self) -> None:
        config = draft()
        config["x"] = 28
        report = pb.KeyConflict(
            key="x", base=value(27), theirs=value(30), yours=value(28), their_version=4, their_author="bob"
        )
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, Script(conflicting(report)))
        error = caught.value
        assert type(error) is lamina.ConflictError
        assert (error.head, error.reason, error.request_id) == (5, "CONFLICT", "id-1")
        assert error.conflicts == {"x": lamina.Conflict("x", 27, 30, 28, 4, "bob")}
        assert "app has moved on to version 5" in str(error)
        assert "'x' (version 4 by bob)" in str(error)
        assert not any(number in str(error) for number in ("27", "28", "30"))
        assert (config.version, config.changes) == (3, {"x": Change(27, 28)})
        assert config._stage.unresolved is None

    def test_values_that_the_report_omits_are_read(self) -> None:
        config = draft(a="A" * 300, b=[1], x=27)
        config["a"] = "B" * 300
        config["b"] = [2]
        config["x"] = 28
        reports = [
            pb.KeyConflict(key="a", their_version=4, their_author="bob", values_omitted=True),
            pb.KeyConflict(key="b", their_version=5, their_author="cy", values_omitted=True),
            pb.KeyConflict(
                key="x", base=value(27), theirs=value(1), yours=value(28), their_version=4, their_author="bob"
            ),
        ]
        script = Script(conflicting(*reports), page(5, {"a": "C" * 300}))
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, script)
        assert script.asked[1][1] == pb.GetVersionRequest(config="app", version=5, keys=["a", "b"], view=pb.ENTRIES)
        assert caught.value.conflicts == {
            "a": lamina.Conflict("a", "A" * 300, "C" * 300, "B" * 300, 4, "bob"),
            "b": lamina.Conflict("b", [1], lamina.MISSING, [2], 5, "cy"),
            "x": lamina.Conflict("x", 27, 1, 28, 4, "bob"),
        }

    def test_conflicts_that_the_report_omits_are_found(self) -> None:
        config = draft(a=1, b=1, c=1, d=1)
        config["a"] = 2
        config["b"] = 2
        config["c"] += 1
        del config["d"]
        found = {"a": 3, "b": 2, "c": 2, "d": 1}  # b alike, c alike but read, d as it was
        blame = header(
            5, entries=[entry("a", 3, 4), entry("c", 2, 5)], origins=[header(4, author="bob"), header(5, author="cy")]
        )
        script = Script(conflicting(truncated=True), header(5), page(5, found), blame)
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, script)
        assert caught.value.conflicts == {
            "a": lamina.Conflict("a", 1, 3, 2, 4, "bob"),
            "c": lamina.Conflict("c", 1, 2, 2, 5, "cy"),
        }

    def test_without_merging_every_changed_key_is_a_conflict(self) -> None:
        config = draft(a=1, b=1, c=1)
        config["a"] = 2
        head = {"a": 1, "b": 9}
        blame = header(5, entries=[entry("b", 9, 5)], origins=[header(5, author="bob")])
        history = pb.KeyHistory(
            changes=[
                pb.KeyChange(key="c", value=value(1), version=6, author="later"),
                pb.KeyChange(key="c", deleted=True, version=4, author="dee"),
            ]
        )
        log = pb.ListVersionsResponse(versions=[header(5, changed_keys=["b"], change_count=1)])  # 4 is on the next page
        script = Script(conflicting(truncated=True), header(5), page(5, head), blame, log, history)
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, script, merge=False)
        assert caught.value.conflicts == {
            "b": lamina.Conflict("b", 1, 9, 1, 5, "bob"),
            "c": lamina.Conflict("c", 1, lamina.MISSING, 1, 4, "dee"),
        }
        assert script.asked[-1][1] == pb.GetKeyHistoryRequest(config="app", key="c", newest_first=True)

    def test_the_log_says_who_deleted_keys(self) -> None:
        """Also keys that a version does not name, since it has changed too many: its parent had them."""
        config = draft(**dict.fromkeys("abcd", 1))
        config.update(dict.fromkeys("abcd", 2))
        log = pb.ListVersionsResponse(
            versions=[
                header(7, author="bob", changed_keys=["a"], change_count=1),
                header(6, author="cy", changed_keys=["b"], change_count=3),
                header(5, author="dee", changed_keys=["a", "d"], change_count=2),
            ]
        )
        script = Script(
            conflicting(head=7, truncated=True), header(7), page(7, {}), page(7, {}), log, page(5, {"c": 1})
        )
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, script)
        assert script.asked[-1][1] == pb.GetVersionRequest(
            config="app", version=5, keys=["c", "d"], view=pb.ENTRIES, min_version=7
        )
        who = {key: (conflict.version, conflict.author) for key, conflict in caught.value.conflicts.items()}
        assert who == {"a": (7, "bob"), "b": (6, "cy"), "c": (6, "cy"), "d": (5, "dee")}

    def test_few_calls_find_out_who_deleted_keys(self) -> None:
        keys = [f"k{number:02}" for number in range(30)]
        config = draft(**dict.fromkeys(keys, 1))
        config.update(dict.fromkeys(keys, 2))
        log, deleted = pb.ListVersionsResponse(), pb.KeyChange(key="k", deleted=True, version=4, author="dee")
        histories = [pb.KeyHistory(changes=[deleted])] * DELETION_CALLS
        script = Script(conflicting(truncated=True), header(5), page(5, {}), page(5, {}), log, *histories)
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, script)
        found = [(conflict.version, conflict.author) for conflict in caught.value.conflicts.values()]
        assert found == [(4, "dee")] * DELETION_CALLS + [(0, "")] * (30 - DELETION_CALLS)

    def test_only_the_text_shortens_a_long_list(self) -> None:
        reports = [pb.KeyConflict(key=f"k{n:02}", their_version=4, their_author="bob") for n in range(13)]
        config = draft(**{f"k{n:02}": 0 for n in range(13)})
        config.update({f"k{n:02}": 1 for n in range(13)})
        with pytest.raises(lamina.ConflictError, match=r"'k09' \(version 4 by bob\), 3 more:") as caught:
            commit(config, Script(conflicting(*reports)))
        assert len(caught.value.conflicts) == 13

    def test_a_dry_run_can_conflict(self) -> None:
        config = draft()
        config["x"] = 28
        report = pb.KeyConflict(
            key="x", base=value(27), theirs=value(30), yours=value(28), their_version=4, their_author="bob"
        )
        with pytest.raises(lamina.ConflictError) as caught:
            commit(config, Script(conflicting(report)), dry_run=True)
        assert set(caught.value.conflicts) == {"x"}


class TestRefresh:
    def test_refresh_moves_the_changes_to_the_head(self) -> None:
        config, script = draft(), Script(page(5, {"x": 27, "z": 1}), header(3))
        config["x"] = 28
        config["w"] = 1
        refresh(config, script)
        assert config == {"w": 1, "x": 28, "z": 1}
        assert (config.version, set(config.changes)) == (5, {"w", "x"})

    def test_a_change_that_others_made_too_is_no_longer_a_change(self) -> None:
        config = draft()
        config["x"] = 28
        refresh(config, Script(page(4, {"x": 28, "y": 450}), header(3)))
        assert config.changes == {}

    def conflict(self) -> tuple[Draft, list[Any]]:
        config = draft(a=1, b=1, c=1, d=1)
        config["a"] = 2
        config["b"] += 1
        config["c"] = 5
        config["d"] = 5
        head = page(5, {"a": 3, "b": 2, "d": 1})
        blame = header(
            5, entries=[entry("a", 3, 4), entry("b", 2, 5)], origins=[header(4, author="bob"), header(5, author="cy")]
        )
        deleted = header(4, author="dee", changed_keys=["a", "c"], change_count=2)
        return config, [head, header(3), blame, pb.ListVersionsResponse(versions=[header(5), deleted])]

    def test_the_error_has_both_sides_and_the_draft_is_unchanged(self) -> None:
        config, answers = self.conflict()
        script = Script(*answers)
        with pytest.raises(lamina.ConflictError) as caught:
            refresh(config, script)
        assert caught.value.conflicts == {
            "a": lamina.Conflict("a", 1, 3, 2, 4, "bob"),
            "b": lamina.Conflict("b", 1, 2, 2, 5, "cy"),  # alike, but an increment would be lost
            "c": lamina.Conflict("c", 1, lamina.MISSING, 5, 4, "dee"),
        }
        assert script.asked[2][1] == pb.GetVersionRequest(
            config="app", version=5, keys=["a", "b", "c"], view=pb.BLAME, min_version=5
        )
        assert (config.version, set(config.changes)) == (3, {"a", "b", "c", "d"})

    def test_resolve_with_theirs(self) -> None:
        config, answers = self.conflict()
        refresh(config, Script(*answers[:2]), "theirs")
        assert config == {"a": 3, "b": 2, "d": 5}
        assert config.changes == {"d": Change(1, 5)}

    def test_resolve_with_yours(self) -> None:
        config, answers = self.conflict()
        refresh(config, Script(*answers[:2]), "yours")
        assert config == {"a": 2, "b": 2, "c": 5, "d": 5}
        assert config.changes == {"a": Change(3, 2), "c": Change(lamina.MISSING, 5), "d": Change(1, 5)}

    def test_resolve_with_a_function(self) -> None:
        config, answers = self.conflict()
        seen: dict[str, lamina.Conflict] = {}

        def decide(conflict: lamina.Conflict) -> Any:
            seen[conflict.key] = conflict
            if conflict.theirs is lamina.MISSING:
                return lamina.MISSING
            return conflict.theirs + conflict.yours - conflict.base

        refresh(config, Script(*answers), decide)
        assert set(seen) == {"a", "b", "c"}
        assert config == {"a": 4, "b": 3, "d": 5}
        assert config.changes == {"a": Change(3, 4), "b": Change(2, 3), "d": Change(1, 5)}

    @pytest.mark.parametrize(
        ("decide", "error"), [(lambda _conflict: (1,), TypeError), (lambda _conflict: 1 / 0, ZeroDivisionError)]
    )
    def test_the_draft_is_unchanged_if_the_function_fails(
        self, decide: Callable[[Any], Any], error: type[Exception]
    ) -> None:
        config, answers = self.conflict()
        with pytest.raises(error):
            refresh(config, Script(*answers), decide)
        assert (config.version, set(config.changes)) == (3, {"a", "b", "c", "d"})

    @pytest.mark.parametrize("resolve", ["mine", 1, True])
    def test_any_other_resolve_is_refused(self, resolve: Any) -> None:
        with pytest.raises(TypeError, match="resolve="):
            refresh(draft(), Script(), resolve)

    def test_a_key_that_was_read_and_changed_stays_declared(self) -> None:
        config = draft(n=1)
        config["n"] += 1
        refresh(config, Script(page(4, {"n": 1, "z": 1}), header(3)))
        assert config._stage.declared_reads() == ["n"]

    def test_edit_refuses_a_draft_with_changes(self) -> None:
        config, ours = draft(), session()
        config["x"] = 28
        with pytest.raises(lamina.InvalidError, match=r"edit needs a draft without changes, this one has 1 \('x'\)"):
            Script().run(writes.begin_edit(ours, config._stage, ""))
        config.discard()
        Script(page(4, {"x": 1}), header(3)).run(writes.begin_edit(ours, config._stage, ""))
        assert config.version == 4


class TestRevert:
    def revert(
        self, config: Draft, script: Script, *keys: str, to: Any = 1, ours: Session | None = None
    ) -> lamina.Version:
        ours = ours or session()
        return script.run(writes.revert(ours, config._stage, keys, to, "undo"), ours)

    def test_revert_the_whole_map(self) -> None:
        config, script = draft(), Script(commit_reply(4), page(4, {"x": 1}))
        assert self.revert(config, script).number == 4
        assert script.asked[0] == (
            "RevertConfig",
            pb.RevertConfigRequest(
                config="app", to_version=1, base_version=3, base_hash=header(3).hash, message="undo", request_id="id-1"
            ),
        )
        assert (config.version, dict(config)) == (4, {"x": 1})

    def test_revert_to_the_empty_map(self) -> None:
        script = Script(commit_reply(4), page(4, {}))
        self.revert(draft(), script, to=0)
        assert (script.asked[0][1].HasField("to_version"), script.asked[0][1].to_version) == (True, 0)

    def test_revert_to_the_same_map_makes_no_version(self) -> None:
        config, script = draft(), Script(commit_reply(3, created=False))
        assert self.revert(config, script, to=3).number == 3
        assert config.version == 3

    def test_revert_some_keys(self) -> None:
        config, script = draft(x=27, y=450, z=1), Script(page(1, {"x": 1, "gone": 5}), commit_reply(4))
        self.revert(config, script, "x", "y", "gone")
        assert script.asked[0][1] == pb.GetVersionRequest(
            config="app", version=1, keys=["x", "y", "gone"], view=pb.ENTRIES
        )
        assert list(script.asked[1][1].changes) == [change("gone", 5), change("x", 1), deletion("y")]
        assert config == {"gone": 5, "x": 1, "z": 1}

    def test_revert_keys_that_have_that_value_makes_no_version(self) -> None:
        config, script = draft(), Script(page(1, {"x": 27}), page(3, {"x": 27, "y": 450}))
        assert self.revert(config, script, "x").number == 3
        assert script.names == ["GetVersion", "GetVersion"]

    def test_revert_refuses_a_key_that_never_existed(self) -> None:
        with pytest.raises(KeyError, match="typo"):
            self.revert(draft(), Script(page(1, {"x": 1})), "x", "typo")

    def test_revert_refuses_a_draft_with_changes(self) -> None:
        config = draft()
        config["x"] = 28
        with pytest.raises(lamina.InvalidError, match="revert needs a draft without changes"):
            self.revert(config, Script())

    def test_a_conflict_shows_the_value_that_revert_would_set(self) -> None:
        report = pb.KeyConflict(key="x", their_version=4, their_author="bob", values_omitted=True)
        script = Script(conflicting(report), page(1, {"x": 1}), page(5, {"x": 30}))
        with pytest.raises(lamina.ConflictError) as caught:
            self.revert(draft(), script)
        assert caught.value.conflicts == {"x": lamina.Conflict("x", 27, 30, 1, 4, "bob")}

    def test_after_an_unknown_outcome_the_same_request_is_sent_again(self) -> None:
        config, script = draft(), Script(*OVER)
        with pytest.raises(lamina.UnavailableError):
            self.revert(config, script)
        first = script.asked[0]
        script = Script(commit_reply(4), page(4, {"x": 1}))
        self.revert(config, script, ours=Session(10.0, new_request_id=lambda: "another"))
        assert script.asked[0] == first

    def test_another_verb_resolves_the_open_revert_first(self) -> None:
        config, script = draft(), Script(*OVER)
        with pytest.raises(lamina.UnavailableError):
            self.revert(config, script)
        config["z"] = 1
        script = Script(commit_reply(4), page(4, {"x": 1}), commit_reply(5))
        commit(config, script)
        assert script.names == ["RevertConfig", "GetVersion", "Commit"]
        assert config == {"x": 1, "z": 1}

    def test_the_keys_of_an_open_revert_stay_reverted(self) -> None:
        """They were never changes of the draft, so the next commit does not set them back."""
        config, script = draft(), Script(page(1, {"x": 5}), *OVER)
        with pytest.raises(lamina.UnavailableError):
            self.revert(config, script, "x")
        config["z"] = 1
        script = Script(commit_reply(4), commit_reply(5))
        commit(config, script)
        assert [change.key for change in script.asked[1][1].changes] == ["z"]
        assert config == {"x": 5, "y": 450, "z": 1}

    def test_another_revert_resolves_the_open_revert_first(self) -> None:
        config, script = draft(), Script(*OVER)
        with pytest.raises(lamina.UnavailableError):
            self.revert(config, script)
        script = Script(commit_reply(4), page(4, {"x": 1}), commit_reply(5), page(5, {"x": 2}))
        self.revert(config, script, to=2, ours=Session(10.0, new_request_id=lambda: "another"))
        assert [request.base_version for name, request in script.asked if name == "RevertConfig"] == [3, 4]


class TestFork:
    def fork(self, config: Draft, script: Script, at: Any = None, ours: Session | None = None) -> Draft:
        ours = ours or session()
        return Draft(script.run(writes.fork(ours, config._stage, "eu", at, "split"), ours))

    def reply(self) -> list[Any]:
        return [pb.CommitResponse(version=header(1, config="eu"), created=True), page(1, {"x": 27}, config="eu")]

    def test_fork_at_the_version_of_the_draft(self) -> None:
        config, script = draft(), Script(*self.reply())
        config["x"] = 99
        made = self.fork(config, script)
        assert script.asked[0] == (
            "ForkConfig",
            pb.ForkConfigRequest(source="app", source_version=3, target="eu", message="split", request_id="id-1"),
        )
        assert (made.name, made.version, made["x"]) == ("eu", 1, 27)
        assert config.changes == {"x": Change(27, 99)}

    def test_fork_at_another_version(self) -> None:
        script = Script(*self.reply())
        self.fork(draft(), script, at=1)
        assert script.asked[0][1].source_version == 1

    def test_fork_refuses_an_existing_target(self) -> None:
        config = draft()
        with pytest.raises(lamina.ExistsError):
            self.fork(config, Script(lamina.ExistsError("there is one", reason="CONFIG_EXISTS")))
        assert config._stage.unresolved_fork is None

    def test_after_an_unknown_outcome_the_same_request_is_sent_again(self) -> None:
        config, script = draft(), Script(*OVER)
        with pytest.raises(lamina.UnavailableError):
            self.fork(config, script)
        first = script.asked[0]
        script = Script(*self.reply())
        self.fork(config, script, ours=Session(10.0, new_request_id=lambda: "another"))
        assert script.asked[0] == first


class TestRefusalsAfterALostAnswer:
    """A refusal of the caller says nothing of an earlier try, whose answer was lost: the write stays open."""

    REFUSALS = (
        lambda: lamina.UnauthenticatedError("the token has expired", reason="BAD_CREDENTIALS"),
        lambda: lamina.PermissionDeniedError("writer is needed", reason="NOT_ALLOWED"),
        lambda: lamina.LimitError("too many calls", reason="TOO_MANY", retry_seconds=60.0),
    )

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_the_same_commit_finds_out(self, refusal: Callable[[], lamina.LaminaError]) -> None:
        config = draft(x=27)
        config["x"] = 28
        first = Script(lamina.UnavailableError("lost"), refusal())
        with pytest.raises(type(refusal())):
            commit(config, first)
        again = Script(refusal())
        with pytest.raises(type(refusal())):
            commit(config, again)
        last = Script(commit_reply(4))
        commit(config, last)
        ids = {request.request_id for script in (first, again, last) for _name, request in script.asked}
        assert len(ids) == 1, "it is one write, however often it was refused"

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_a_first_try_that_is_refused_wrote_nothing(self, refusal: Callable[[], lamina.LaminaError]) -> None:
        config = draft(x=27)
        config["x"] = 28
        with pytest.raises(type(refusal())) as caught:
            commit(config, Script(refusal()))
        assert caught.value.reason == refusal().reason
        assert config._stage.unresolved is None
