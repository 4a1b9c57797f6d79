"""What watches and lives do while a server refuses the caller: an expired token, a right that was taken, many calls."""

import logging
from dataclasses import replace
from typing import Any

import pytest

import lamina
from lamina._flows.session import Session
from lamina._live.tracking import HeadTracker
from lamina._mapping.entries import Entries
from lamina._streams.queue import WatchQueue
from lamina._wire.messages import version_of
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.builders import Script, entry, session
from tests.support.bundles import history

BROKEN = lamina.UnavailableError("the link broke")
EXPIRED = lamina.UnauthenticatedError("the token 'shop' has expired", reason="BAD_CREDENTIALS")
TAKEN = lamina.PermissionDeniedError("reader on 'app' is needed", reason="NOT_ALLOWED")
ABSENT = lamina.CursorError("'app' ends at version 0", reason="CURSOR_AHEAD", head=0)
BUSY = lamina.LimitError("too many calls", reason="TOO_MANY", retry_seconds=2.0)


CHAIN = history([{"a": number} for number in range(1, 5)], config="app")
"""Four versions of "app", with true hashes: lives check them."""


def header(number: int) -> pb.ConfigVersion:
    return CHAIN[number - 1].version


def message(number: int) -> pb.WatchKeyHistoryResponse:
    return pb.WatchKeyHistoryResponse(changes=[CHAIN[number - 1]], bookmark=bookmark(number).bookmark)


def bookmark(number: int) -> pb.WatchKeyHistoryResponse:
    return pb.WatchKeyHistoryResponse(bookmark=pb.Bookmark(version=number, hash=header(number).hash))


def at_version_3() -> Entries:
    return Entries(version_of(header(3)), {"a": entry("a", 3, 3)})


def identified(*, renews: bool = False) -> Session:
    return replace(session(), has_credential=True, renews_token=renews)


def follow(script: Script, tracker: HeadTracker, ours: Session) -> None:
    """Run until the script has no answer left."""
    while script.answers:
        script.run(tracker.step(), ours)


class TestLive:
    def tracker(self, ours: Session) -> HeadTracker:
        return HeadTracker(ours, at_version_3())

    @pytest.mark.parametrize("refusal", [EXPIRED, TAKEN])
    @pytest.mark.parametrize("renews", [False, True])
    def test_it_outlasts_a_refusal(
        self, refusal: lamina.LaminaError, renews: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It keeps its map, is STALE, says why, and comes back by itself."""
        ours = identified(renews=renews)
        tracker, script = self.tracker(ours), Script(bookmark(3), refusal, refusal, refusal)
        with caplog.at_level(logging.ERROR, logger="lamina"):
            follow(script, tracker, ours)
        assert (tracker.state, tracker.refusal, tracker.failure) == ("STALE", refusal, None)
        assert tracker.entries.value("a") == 3
        assert script.slept == [0.2, 0.4, 0.8], "each pause is longer"
        assert [record.getMessage() for record in caplog.records] == [
            f"app is at version 3, and stays there until it is let in again: {refusal}"
        ]
        script.answers = [message(4)]
        follow(script, tracker, ours)
        assert (tracker.state, tracker.refusal, tracker.entries.value("a")) == ("LIVE", None, 4)
        assert [request.after.version for request in script.opened] == [3, 3, 3, 3]

    def test_it_outlasts_a_config_that_looks_absent(self) -> None:
        """A config that may not be read looks as if it did not exist, so the server does not know its version."""
        ours = identified()
        tracker, script = self.tracker(ours), Script(*[ABSENT] * 5)
        follow(script, tracker, ours)
        assert [tracker.refusal] == [ABSENT]
        script.answers = [TAKEN, *[ABSENT] * 5]
        follow(script, tracker, ours)
        assert [tracker.refusal] == [TAKEN], "what says more is shown"
        script.answers = [bookmark(3)]
        follow(script, tracker, ours)
        assert (tracker.state, tracker.refusal) == ("LIVE", None)

    def test_without_a_credential_a_lost_config_ends_it(self) -> None:
        """On an open server nothing is hidden: a config that is gone was lost."""
        ours = session()
        tracker, script = self.tracker(ours), Script(bookmark(3), *[ABSENT] * 3)
        with pytest.raises(lamina.CursorError):
            follow(script, tracker, ours)

    def test_another_past_ends_it_in_any_case(self) -> None:
        ours = identified()
        ahead = lamina.CursorError("'app' ends at version 2", reason="CURSOR_AHEAD", head=2)
        tracker, script = self.tracker(ours), Script(bookmark(3), *[ahead] * 3)
        with pytest.raises(lamina.CursorError):
            follow(script, tracker, ours)

    def test_offline_it_waits_to_be_let_in(self) -> None:
        ours = identified()
        tracker = HeadTracker(ours, at_version_3(), known_at=0.0, is_offline=True)
        script = Script(EXPIRED, EXPIRED)
        follow(script, tracker, ours)
        assert (tracker.state, tracker.refusal) == ("OFFLINE", EXPIRED)
        script.answers = [message(4)]
        follow(script, tracker, ours)
        assert (tracker.state, tracker.refusal) == ("LIVE", None)


class TestWatch:
    def queue(self, ours: Session) -> WatchQueue:
        return WatchQueue(ours, version_of(header(3)), (), (), None)

    def test_it_waits_for_a_renewed_token(self, caplog: pytest.LogCaptureFixture) -> None:
        ours = identified(renews=True)
        script = Script(bookmark(3), EXPIRED, EXPIRED, message(4))
        with caplog.at_level(logging.WARNING, logger="lamina"):
            assert script.run(self.queue(ours).next_change(), ours).version == 4
        assert script.slept == [0.2, 0.4]
        assert caplog.messages == [f"{EXPIRED}; trying again until the token is renewed"]

    def test_without_a_renewed_token_it_ends(self) -> None:
        ours = identified()
        with pytest.raises(lamina.UnauthenticatedError):
            Script(bookmark(3), EXPIRED).run(self.queue(ours).next_change(), ours)

    def test_who_was_never_let_in_is_told_at_once(self) -> None:
        """A wrong file would otherwise look like a config that nobody changes."""
        ours = identified(renews=True)
        with pytest.raises(lamina.UnauthenticatedError):
            Script(EXPIRED).run(self.queue(ours).next_change(), ours)
        ours.horizon.saw(version_of(header(3)))
        assert Script(EXPIRED, message(4)).run(self.queue(ours).next_change(), ours).version == 4

    def test_a_right_that_was_taken_ends_it(self) -> None:
        ours = identified(renews=True)
        with pytest.raises(lamina.PermissionDeniedError):
            Script(bookmark(3), TAKEN).run(self.queue(ours).next_change(), ours)

    @pytest.mark.parametrize("kind", ["watch", "live"])
    def test_it_waits_as_long_as_the_server_asks(self, kind: Any) -> None:
        """Also one that has never been let in."""
        ours, script = session(), Script(BUSY, BUSY, message(4))
        if kind == "watch":
            script.run(self.queue(ours).next_change(), ours)
        else:
            follow(script, HeadTracker(ours, at_version_3()), ours)
        assert script.slept == [3.0, 3.0]
