"""A watch's stream as a sans-IO machine: it joins many streams, each of which may break anywhere, into one.

The *position* is the last version that arrived whole: the next stream resumes after it. A receiver takes what arrives.

Worked example: a message brings versions 4, 5 and the first part of 6, then the link breaks. The position is 5, the
receiver drops its part of 6, and the next stream, after 5, sends 6 again from its first part.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from lamina._flows.answers import wrong
from lamina._flows.effects import Flow, Open, Receive, Sleep
from lamina._flows.operation import retry_pause
from lamina._flows.session import Session
from lamina._runtime.log import log
from lamina._streams.cursor import format_cursor
from lamina._wire.causes import PROXY
from lamina.errors import CursorError, LaminaError, UnauthenticatedError, UnavailableError
from lamina_protos.v1 import lamina_pb2 as pb

REOPEN_FIRST_SECONDS: Final = 0.2
REOPEN_CEILING_SECONDS: Final = 10.0
"""The pause before a stream is opened again is random, from 0 to a ceiling that doubles from the first figure to this
one: after a server was killed, thousands of watchers come back, and must not come at once. If there are several, each
is tried before the first pause, since one of them may be up already."""

AHEAD_TRIES: Final = 3
"""After this many answers that its position is ahead of the head, a watch concludes that versions were lost. A single
answer may come from a wrong server at the address, or from one of several servers that lost its database."""

_ROUNDS: Final = 16
"""After this many doublings a pause is far above its ceiling. More of them would overflow a float."""

Locate: TypeAlias = Callable[[], Flow[pb.Cursor]]
"""A flow that asks a server where to begin."""

Outlasts: TypeAlias = Callable[[LaminaError], bool]
"""Whether a stream goes on in spite of an error that is definite for others."""


class WatchEnded(Exception):  # noqa: N818 - it is no error
    """The loop has ended: closed, or silent for too long. Raised by the stream's runner; no user sees it."""


class Receiver(Protocol):
    """Receives the versions of a stream. An error that it raises ends the step, and the stream."""

    def part(self, part: pb.VersionChanges, /) -> None:
        """Take a version, or a part of one that is split: `more` is set on all parts but the last.

        Versions arrive in order. A version may arrive again; then it is not new.
        """
        ...

    def bookmark(self, cursor: pb.Cursor, /) -> None:
        """Take a bookmark: everything up to this cursor has arrived."""
        ...

    def interrupted(self) -> None:
        """Handle the loss of the stream. A version that arrived in part will arrive again, whole."""
        ...


class WatchStream:
    """One stream of a config's changes that is opened again whenever it breaks, until an error is definite.

    request   what is watched; the stream begins at its `after`, unless `locate` finds the position
    position  the last version that arrived whole, or that a bookmark named; 0 until `locate` has found one
    """

    def __init__(
        self,
        session: Session,
        request: pb.WatchKeyHistoryRequest,
        receiver: Receiver,
        *,
        locate: Locate | None = None,
        outlasts: Outlasts = lambda _error: False,
    ) -> None:
        self._session = session
        self._request = request
        self.position = request.after
        self._receiver = receiver
        self._locate = locate
        self._outlasts = outlasts
        self._is_open = False
        self._was_let_in = False
        self._opened_at = 0.0
        self._failures = 0
        self._ahead_answers = 0
        self._is_refused = False

    def step(self) -> Flow[bool]:
        """Take one message, or pause after the stream was lost; return whether a message came. Raise a definite error.

        The first step of a stream that has to be located only does that.
        """
        try:
            return (yield from self._advance())
        except LaminaError as error:
            if self._is_open and self._session.clock() - self._opened_at >= REOPEN_CEILING_SECONDS:
                self._failures = 0  # a stream that lasted this long worked, even if an idle config had no changes
            self.drop()
            if isinstance(error, CursorError):
                error.cursor = format_cursor(self.position)
            if not self._is_passing(error):
                raise
            yield from self.pause(error)
            return False

    def pause(self, error: LaminaError) -> Flow[None]:
        """Back off after a failure, once every server has been tried; or for as long as the server has asked."""
        if (asked := retry_pause(self._session, error)) is not None:
            yield Sleep(asked)
            return
        self._failures += 1
        rounds = self._failures - self._session.servers
        if rounds >= 0:
            ceiling = min(REOPEN_CEILING_SECONDS, REOPEN_FIRST_SECONDS * 2 ** min(rounds, _ROUNDS))
            yield Sleep(self._session.uniform(0, ceiling))

    def drop(self) -> None:
        """Forget the stream, which the shell has closed or lost. The next step opens another one after the position."""
        self._is_open = False
        self._receiver.interrupted()

    def locate_by(self, locate: Locate) -> None:
        """Drop the stream, and begin again at the position that this flow finds."""
        self.drop()
        self._locate = locate

    def move_to(self, position: pb.Cursor) -> None:
        """Continue after a version that arrived whole, or that the receiver knows from elsewhere."""
        self.position = position
        self._failures = 0  # a server answers again

    def _is_passing(self, error: LaminaError) -> bool:
        if isinstance(error, CursorError):
            return self._outlasts(error) or self._may_be_wrong(error)
        # A watch that was accepted before is refused because there are too many right now, or by a proxy that has lost
        # its server: it may soon be accepted again.
        is_refused_for_now = self._was_let_in and error.reason in {"TOO_MANY", PROXY}
        if is_refused_for_now or isinstance(error, UnavailableError) or retry_pause(self._session, error) is not None:
            return True
        return self._outlasts(error) or self._may_be_renewed(error)

    def _may_be_renewed(self, error: LaminaError) -> bool:
        """Return whether to ask again with another token: this client was let in, and its token has expired since."""
        was_let_in = self._was_let_in or self._session.horizon.least(self._request.config) > 0
        if not isinstance(error, UnauthenticatedError) or not self._session.renews_token or not was_let_in:
            return False
        if not self._is_refused:
            log.warning("%s; trying again until the token is renewed", error)
        self._is_refused = True
        return True

    def _may_be_wrong(self, error: CursorError) -> bool:
        """Return whether to ask again: a server has shown the position to this client, and now one denies it."""
        self._ahead_answers += 1
        is_seen = self._was_let_in or self.position.version <= self._session.horizon.least(self._request.config)
        tries = max(AHEAD_TRIES, self._session.servers + 1)
        if error.reason != "CURSOR_AHEAD" or not is_seen or self._ahead_answers >= tries:
            return False
        log.info("%s; asking again", error)
        return True

    def _advance(self) -> Flow[bool]:
        if self._locate is not None:
            self.position = yield from self._locate()
            self._locate = None
            return False
        if not self._is_open:
            request = pb.WatchKeyHistoryRequest()
            request.CopyFrom(self._request)
            request.after.CopyFrom(self.position)
            yield Open(request)
            self._is_open, self._opened_at = True, self._session.clock()
        self._take((yield Receive()))
        self._was_let_in = True
        self._is_refused = False
        self._ahead_answers = 0
        return True

    def _take(self, message: pb.WatchKeyHistoryResponse) -> None:
        for part in message.changes:
            self._receiver.part(part)
            if not part.more and part.version.version > self.position.version:
                self.move_to(pb.Cursor(version=part.version.version, hash=part.version.hash))
        if message.HasField("bookmark"):
            bookmark = pb.Cursor(version=message.bookmark.version, hash=message.bookmark.hash)
            is_new = bookmark.version > self.position.version
            is_same = bookmark.version == self.position.version
            if is_same and self.position.hash and bookmark.hash not in {b"", self.position.hash}:
                raise wrong(f"version {bookmark.version} of {self._request.config} has another hash in a bookmark")
            self._receiver.bookmark(bookmark if is_new else self.position)
            if is_new:
                self.move_to(bookmark)
