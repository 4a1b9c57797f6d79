"""A bundle's versions, planned again as if they were committed now: each must get the hash that the file says.

So every change of an exported file is noticed: of a value, an author, an order or a count. Writes nothing. It holds one
version and one map in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import InvalidError, LimitError
from lamina_server.domain.planning import Author, MapLimits, Plan, plan
from lamina_server.domain.records import CHANGED_KEYS_LIMIT, Change, Source, Version
from lamina_server.domain.secrets import Content, WrappedKey, number_of
from lamina_server.domain.values import Kind, Value
from lamina_server.settings import Settings
from lamina_server.wire import values
from lamina_server.wire.validation import Checker

Advance = Callable[[int], object]
"""Called with how many more bytes of the file were read."""

_YEARS_1_TO_9999 = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The times that a protobuf Timestamp can have, in microseconds since 1970."""


class BrokenBundleError(Exception):
    """A file is no bundle, or not as it was exported. The text names the first broken version, and no value."""


class Replay:
    """One bundle, checked version by version.

    secret_keys  the data keys in it, once `plans` has ended
    numbers      of the data keys that have sealed its secrets so far
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = MapLimits(keys=settings.config_key_limit, size_bytes=settings.config_limit_bytes)
        self._values: dict[str, Value] = {}
        self._head: Version | None = None
        self.secret_keys: list[WrappedKey] = []
        self.numbers: set[int] = set()

    def plans(self, file: bundle.Readable, advance: Advance) -> Iterator[Plan]:
        """Yield for each version what a commit of it would insert. If the iterator ends, the file was complete.

        Raises BrokenBundleError.
        """
        parts: list[pb.VersionChanges] = []
        reported = 0
        try:
            for block in bundle.blocks(file):
                for part in block.parts:
                    parts.append(part)
                    if not part.more:
                        yield self._plan(parts, block.problem)
                        parts = []
                self.secret_keys += map(_foreign, block.secret_keys)
                if block.bookmark is not None:
                    self._check_end(block.bookmark, is_whole=not parts)
                advance(block.offset + block.size - reported)
                reported = block.offset + block.size
        except bundle.NotABundleError as error:
            raise BrokenBundleError(str(error)) from error
        except bundle.DamagedError as error:
            raise self._broken(f"cannot be read: {error}") from error

    def _plan(self, parts: list[pb.VersionChanges], problem: str | None) -> Plan:
        header, head = parts[0].version, self._head
        number = 1 if head is None else head.number + 1
        if header.version != number or (head is not None and header.config != head.config):
            raise self._broken(f"is missing: version {header.version} of {header.config!r} is in its place")
        try:
            made = self._planned(header, [change for part in parts for change in part.changes])
        except (InvalidError, LimitError) as error:
            raise self._broken(str(error), header.config) from error
        if not _is_of(header, made):
            what = "does not match its hash" if problem is None else f"cannot be read: {problem}"
            raise self._broken(what, header.config)
        self._head = made.version
        for planned in made.values:
            if planned.value is None:
                self._values.pop(planned.key, None)
            else:
                self._values[planned.key] = planned.value
        return made

    def _planned(self, header: pb.ConfigVersion, messages: Iterable[pb.Change]) -> Plan:
        checker = Checker(self._settings)
        changes = [_change(message, checker) for message in messages]
        self.numbers.update(_number(change) for change in changes if change.value and change.value.kind is Kind.SECRET)
        if any(one.key >= other.key for one, other in pairwise(changes)):
            raise self._broken("does not have its keys in order", header.config)
        time_us = header.commit_time.seconds * 1_000_000 + header.commit_time.nanos // 1_000
        if time_us not in _YEARS_1_TO_9999:
            raise self._broken("has a time that cannot be", header.config)
        config = checker.config_name("config", header.config)
        message = checker.message("message", header.message)
        author = checker.author("author", header.author)
        source = None
        if header.source_config:
            name = checker.config_name("source_config", header.source_config)
            source = Source(name, header.source_version, header.source_hash)
        checker.done()
        return plan(
            changes,
            config=config,
            head=self._head,
            values=self._values,
            author=Author(author, header.author_verified),
            message=message,
            now_us=time_us,
            limits=self._limits,
            source=source,
        )

    def _check_end(self, bookmark: pb.Bookmark, *, is_whole: bool) -> None:
        head = self._head
        if head is None or not is_whole or (bookmark.version, bookmark.hash) != (head.number, head.hash):
            raise self._broken(f"is missing: the file ends with version {bookmark.version}")

    def _broken(self, what: str, config: str | None = None) -> BrokenBundleError:
        """Return the error about the version after the last intact one."""
        number, name = (1, config) if self._head is None else (self._head.number + 1, self._head.config)
        return BrokenBundleError(f"version {number}{f' of {name!r}' if name else ''} {what}")


def _is_of(header: pb.ConfigVersion, made: Plan) -> bool:
    """Return whether a header is that of a version: its hash, and the fields that the hash does not cover."""
    version, keys = made.version, [each.key for each in made.values[:CHANGED_KEYS_LIMIT]]
    found = (header.hash, header.parent, header.key_count, header.change_count, list(header.changed_keys))
    return found == (version.hash, version.number - 1, version.key_count, version.change_count, keys)


def _change(message: pb.Change, checker: Checker) -> Change:
    key = checker.key("key", message.key)
    if message.deleted:
        return Change(key, None)
    path = f"the value of {key!r}"
    if message.value.HasField("secret"):
        message.value.secret.ClearField("plain")  # which no bundle has, unless somebody has put it there
    value = values.from_message(path, message.value, checker)
    assert not isinstance(value, Content)  # which has a plain content
    return Change(key, value)


def _foreign(key: pb.SecretKey) -> WrappedKey:
    return WrappedKey(key.number, True, key.check, key.outer_key, key.wrapped)  # noqa: FBT003 - a field


def _number(change: Change) -> int:
    """Return the number of the data key that has sealed a change; 0, which no data key has, for other bytes."""
    assert change.value is not None
    assert isinstance(change.value.data, bytes)
    return number_of(change.value.data) or 0
