"""The walk along a config's hash chain: it receives a watch's stream, and holds one map.

Every version from 1 on is hashed again, from its parent's hash, its header and its changes, and compared with the hash
in its header (chain.py). The last hash is compared with the one of the config's version, and the config's map with the
newest digest of each key. So a hash that was noted elsewhere proves the whole past.

If the config was compacted, the walk begins at the oldest version that can be read, and takes that one as it is.
"""

from typing import Final

from lamina._flows.effects import Flow
from lamina._flows.operation import Operation
from lamina._flows.reads import read_entries
from lamina._flows.session import Session
from lamina._mapping.entries import Entries
from lamina._runtime.log import log
from lamina._streams.chain import Chain
from lamina._streams.cursor import cursor_at
from lamina._streams.watch import Receiver, WatchStream
from lamina._wire.hashing import value_digest
from lamina._wire.messages import header_of, version_of
from lamina._wire.rpcs import GET_VERSION
from lamina.errors import VersionCompactedError
from lamina.records import Version
from lamina_protos.v1 import lamina_pb2 as pb

BOOKMARK_SECONDS: Final = 1
"""As often as a server sends them: a bookmark shows at once if a version before it is missing."""


class ChainWalk:
    """One walk, from the empty map to the version that a config stands on.

    `then` receives each part after it was added to the chain; a version's last part only if the version is intact.
    """

    def __init__(self, session: Session, base: Entries, then: Receiver | None = None) -> None:
        self._session = session
        self._base = base
        self._config = base.header.config
        self._last = base.header.number
        self._then = then
        self._has_begun = False
        self._chain = Chain(self._config)
        request = pb.WatchKeyHistoryRequest(config=self._config)
        request.bookmark_interval.seconds = BOOKMARK_SECONDS
        self.stream = WatchStream(session, request, self)

    @property
    def place(self) -> str:
        """The position, for an error's text."""
        return f"{self._config} was verified up to version {self._chain.number} of {self._last}"

    def step(self) -> Flow[Version | None]:
        """Take one message, which is some versions or a part of one; return the last version's header at the end.

        Raises DataLossError if the chain is broken, CursorError if it ends before the config's version.
        """
        if not self._last:
            return self._base.header
        if not self._has_begun:
            yield from self._begin()
            self._has_begun = True
        before = self._chain.place
        while not self._is_at_the_end and before == self._chain.place:
            try:
                yield from self.stream.step()  # a bookmark, or a stream opened again, is no progress yet
            except VersionCompactedError as error:
                if self._chain.number or self._then is not None:
                    raise
                yield from self._begin_at(error)
        return self._finished() if self._is_at_the_end else None

    def part(self, part: pb.VersionChanges) -> None:
        """Add a part to the chain, unless it was committed after the version that the config stands on."""
        if not self._is_at_the_end:
            self._chain.add(part)
            if self._then is not None:
                self._then.part(part)

    def bookmark(self, cursor: pb.Cursor) -> None:
        """Raise DataLossError if a version before the bookmark did not arrive."""
        if self._chain.number < min(cursor.version, self._last):
            raise self._chain.broken(self._chain.number + 1, "was left out")

    def interrupted(self) -> None:
        """Drop the parts of a version that will arrive again."""
        self._chain.forget_parts()
        if self._then is not None:
            self._then.interrupted()

    @property
    def _is_at_the_end(self) -> bool:
        return self._chain.number == self._last

    def _begin(self) -> Flow[None]:
        """Check that the server's past is long enough, and add a first version that changed nothing.

        A fork of an empty map has such a version, and a stream has only changes.
        """
        request = pb.GetVersionRequest(config=self._config, version=1, view=pb.HEADER, min_version=self._last)
        header = yield from Operation(self._session).ask(GET_VERSION, request)
        if not header.change_count:
            self.part(pb.VersionChanges(version=header))
            self.stream.move_to(pb.Cursor(version=header.version, hash=header.hash))

    def _begin_at(self, error: VersionCompactedError) -> Flow[None]:
        """Begin at the oldest version that can be read, and say so."""
        first = min(error.oldest_version, self._last)
        entries = yield from read_entries(Operation(self._session), self._config, first)
        text = "%s is verified from version %d on, because the ones before are compacted"
        log.warning(text, self._config, first)
        self._chain.begin_at(header_of(entries.header), {key: _digest(entries, key) for key in entries})
        self.stream.move_to(cursor_at(entries.header))

    def _finished(self) -> Version:
        """Compare the config's map with the end of the chain."""
        header, live = self._chain.header, self._chain.live
        assert header is not None
        if header.hash.hex() != self._base.header.hash:
            raise self._chain.broken(self._last, "is another one than this config stands on")
        shown = {key: _digest(self._base, key) for key in self._base}
        if shown != live:
            keys = sorted(key for key in shown.keys() | live.keys() if shown.get(key) != live.get(key))
            raise self._chain.broken(self._last, f"does not have {keys[0]!r} as this config shows it")
        return version_of(header)


def _digest(entries: Entries, key: str) -> bytes:
    return value_digest(entries.header.config, entries.origin(key), key, entries.stored(key))
