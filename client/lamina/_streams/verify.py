"""The walk along a config's hash chain, as a sans-IO machine over the same stream as a watch's; it holds one map.

Every version from 1 on is hashed anew, from its parent's hash, its header and its changes, and held against the hash
in its header (chain.py); the last one against the hash of the version that the config stands on, and the map that the
config shows against the newest digest of each key. So whoever has noted a version's hash elsewhere knows with it the
whole past.
"""

from typing import Final

from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.session import Session
from lamina._mapping.entries import Entries
from lamina._streams.chain import Chain
from lamina._streams.hashing import value_digest
from lamina._streams.watch import WatchStream
from lamina._wire.messages import version_of
from lamina._wire.rpcs import GET_VERSION
from lamina.records import Version
from lamina_protos.v1 import lamina_pb2 as pb

BOOKMARK_SECONDS: Final = 1
"""As often as a server lets us: a bookmark tells at once where it has left something out."""


class Verifying(WatchStream):
    """One walk, from the empty map to the version that a config stands on."""

    def __init__(self, session: Session, base: Entries) -> None:
        super().__init__(session, base.header, (), (), 0)
        self._base = base
        self._last = base.header.number
        self._begun = False
        self._chain = Chain(base.header.config)

    def step(self) -> Flow[Version | None]:
        """Take one message, which is some versions or a part of one; return the last version's header at the end.

        Raises DataLossError where the chain is broken, CursorError where it ends before the config's version.
        """
        if not self._last:
            return self._base.header
        if not self._begun:
            yield from self._begin()
            self._begun = True
        before = self._chain.place
        while self._reached < self._last and before == self._chain.place:
            yield from self._progress()  # a bookmark, or a stream opened again, is no progress yet
        return self._finished() if self._reached == self._last else None

    @property
    def place(self) -> str:
        """How far it has come, for an error's text."""
        return f"{self._config} was verified up to version {self._reached} of {self._last}"

    def _begin(self) -> Flow[None]:
        """See that the server's past is long enough, and take a first version that changed nothing.

        That is what a fork of an empty map has: a stream tells only of changes.
        """
        request = pb.GetVersionRequest(config=self._config, version=1, view=pb.HEADER, min_version=self._last)
        header = yield from Operation(self._session).ask(GET_VERSION, request)
        if not header.change_count:
            self._take_part(pb.VersionChanges(version=header))

    def _request(self) -> pb.WatchKeyHistoryRequest:
        request = super()._request()
        request.bookmark_interval.seconds = BOOKMARK_SECONDS
        return request

    def _forget_parts(self) -> None:
        self._chain.forget_parts()

    def _take(self, message: pb.WatchKeyHistoryResponse) -> None:
        for part in message.changes:
            if self._reached == self._last:
                return  # committed since
            self._take_part(part)
        if message.HasField("bookmark") and self._reached < min(message.bookmark.version, self._last):
            raise self._chain.broken(self._reached + 1, "was left out")

    def _take_part(self, part: pb.VersionChanges) -> None:
        if self._chain.add(part):
            self._moved(pb.Cursor(version=part.version.version, hash=part.version.hash))

    def _finished(self) -> Version:
        """Hold what the config shows against the end of the chain."""
        header, live = self._chain.header, self._chain.live
        assert header is not None
        if header.hash.hex() != self._base.header.hash:
            raise self._chain.broken(self._last, "is another one than this config stands on")
        shown = {key: self._shown(key) for key in self._base}
        if shown != live:
            keys = sorted(key for key in shown.keys() | live.keys() if shown.get(key) != live.get(key))
            raise self._chain.broken(self._last, f"does not have {keys[0]!r} as this config shows it")
        return version_of(header)

    def _shown(self, key: str) -> bytes:
        return value_digest(self._config, self._base.origin(key), key, self._base.stored(key))
