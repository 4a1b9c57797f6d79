"""The walk along a config's hash chain, as a sans-IO machine over the same stream as a watch's; it holds one map.

Every version from 1 on is hashed anew, from its parent's hash, its header and its changes, and held against the hash
in its header; the last one against the hash of the version that the config stands on, and the map that the config shows
against the newest digest of each key. So whoever has noted a version's hash elsewhere knows with it the whole past.

Worked example: version 1 sets x and y, version 2 sets x, version 3 deletes y. Of 1, two digests are kept: {x, y}; of 2
one, over the first: {x, y}; of 3 none, y goes: {x}. Each version's hash is made of the last one's and of its own
digests, and its key count is 2, 2 and 1. At version 3 the config must show x, and as version 2 set it.
"""

from typing import Final

from lamina.effects import Flow, Session, Verb
from lamina.entries import Entries
from lamina.errors import DataLossError
from lamina.hashing import NO_PARENT, value_digest, version_hash
from lamina.records import MISSING, Version
from lamina.rpcs import GET_VERSION
from lamina.values import load
from lamina.watching import Following
from lamina.wire import version_of
from lamina_protos.v1 import lamina_pb2 as pb

BOOKMARK_SECONDS: Final = 1
"""As often as a server lets us: a bookmark tells at once where it has left something out."""


class Verifying(Following):
    """One walk, from the empty map to the version that a config stands on."""

    def __init__(self, session: Session, base: Entries) -> None:
        super().__init__(session, base.header, (), (), 0)
        self._base = base
        self._last = base.header.number
        self._begun = False
        self._header: pb.ConfigVersion | None = None  # of the newest version that was found intact
        self._live: dict[str, bytes] = {}  # the digest of each key's value
        self._digests: list[tuple[str, bytes | None]] = []  # of the version under way, by key; None is a deletion
        self._hashed: list[bytes] = []

    def step(self) -> Flow[Version | None]:
        """Take one message, which is some versions or a part of one; return the last version's header at the end.

        Raises DataLossError where the chain is broken, CursorError where it ends before the config's version.
        """
        if not self._last:
            return self._base.header
        if not self._begun:
            yield from self._begin()
            self._begun = True
        before = self._reached, len(self._hashed)
        while self._reached < self._last and before == (self._reached, len(self._hashed)):
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
        header = yield from Verb(self._session).ask(GET_VERSION, request)
        if not header.change_count:
            self._end_version(header)

    def _request(self) -> pb.WatchKeyHistoryRequest:
        request = super()._request()
        request.bookmark_interval.seconds = BOOKMARK_SECONDS
        return request

    def _forget_parts(self) -> None:
        self._digests, self._hashed = [], []

    def _take(self, message: pb.WatchKeyHistoryResponse) -> None:
        for part in message.changes:
            if self._reached == self._last:
                return  # committed since
            self._take_part(part)
        if message.HasField("bookmark") and self._reached < min(message.bookmark.version, self._last):
            raise self._broken(self._reached + 1, "was left out")

    def _take_part(self, part: pb.VersionChanges) -> None:
        header = part.version
        if header.version != self._reached + 1 or header.config != self._config:
            raise self._broken(self._reached + 1, f"was left out: version {header.version} of {header.config} came")
        for change in part.changes:
            value = MISSING if change.deleted else load(change.value)
            digest = value_digest(self._config, header.version, change.key, value)
            self._hashed.append(digest)
            self._digests.append((change.key, None if value is MISSING else digest))
        if not part.more:
            self._end_version(header)

    def _end_version(self, header: pb.ConfigVersion) -> None:
        parent_hash = NO_PARENT if self._header is None else self._header.hash
        made = version_hash(header, parent_hash, self._hashed)
        for key, digest in self._digests:
            if digest is None:
                self._live.pop(key, None)
            else:
                self._live[key] = digest
        if made != header.hash or header.change_count != len(self._hashed):
            raise self._broken(header.version, "does not match its hash")
        if header.key_count != len(self._live):
            raise self._broken(header.version, f"says that it has {header.key_count} keys, and has {len(self._live)}")
        self._header = header
        self._forget_parts()
        self._moved(pb.Cursor(version=header.version, hash=header.hash))

    def _finished(self) -> Version:
        """Hold what the config shows against the end of the chain."""
        assert self._header is not None
        if self._header.hash.hex() != self._base.header.hash:
            raise self._broken(self._last, "is another one than this config stands on")
        shown = {key: self._shown(key) for key in self._base}
        if shown != self._live:
            keys = sorted(key for key in shown.keys() | self._live.keys() if shown.get(key) != self._live.get(key))
            raise self._broken(self._last, f"does not have {keys[0]!r} as this config shows it")
        return version_of(self._header)

    def _shown(self, key: str) -> bytes:
        return value_digest(self._config, self._base.origin(key), key, self._base.stored(key))

    def _broken(self, number: int, what: str) -> DataLossError:
        return DataLossError(f"version {number} of {self._config} {what}", reason="HASH_MISMATCH")
