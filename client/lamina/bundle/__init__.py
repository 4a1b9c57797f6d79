"""A config's whole past in one file: `lamina.open` reads it, without any server, and `export` writes one.

A Bundle has the verbs of a Config, run by the same flows, and answers their calls from the file. A file needs no
waiting, so there is one class for both threads and asyncio. Only `export` loads gRPC.
"""

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, SupportsIndex, TypeVar

from lamina._flows import reads
from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._flows.operation import Operation
from lamina._flows.points import Point
from lamina._flows.run import run
from lamina._flows.session import Session
from lamina._mapping.secret import Absence
from lamina._mapping.snapshot import Snapshot
from lamina._runtime.public import public
from lamina._runtime.tracebacks import short
from lamina._streams.verify import ChainWalk
from lamina.bundle.answers import Answers
from lamina.bundle.index import BundleIndex
from lamina.records import Change, KeyChange, Version
from lamina_protos.v1 import lamina_pb2 as pb

if TYPE_CHECKING:
    from lamina.bundle.exporter import export

__all__ = ["Bundle", "export", "open"]

Result = TypeVar("Result")
Item = TypeVar("Item")

_OF_A_SERVER: Final = frozenset(
    {"changes", "commit", "discard", "edit", "fork", "refresh", "revert", "transact", "watch"}
)


@public("lamina")
def open(path: str | os.PathLike[str]) -> "Bundle":  # noqa: A001 - `lamina.open`, as there is `gzip.open`
    """Open a bundle, which `lamina export CONFIG --history FILE` has written: a config's whole past, read-only.

        with lamina.open("app.lamina") as config:
            print(config["x"], config.at(1)["x"], config.diff(1))

    No server is asked. Reads the file once, to learn where everything is: half a second for 100,000 versions, and 9
    bytes of memory for each change. DataLossError names the first version that a damaged file has lost; InvalidError
    if the file is no bundle; OSError if it cannot be read.
    """
    return Bundle(path)


@public("lamina")
class Bundle(Snapshot):
    """A config's newest version out of a file, as a read-only mapping, and the verbs that look at its past.

    Threads may share it, and it survives a fork. It pickles and copies as the Snapshot that it shows. `close` it, or
    use it in a `with` block; what was read stays readable.
    """

    __slots__ = ("_answer", "_past", "_session")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._past = BundleIndex(path)
        self._answer = Answers(self._past)
        self._session = Session(math.inf, absence=Absence.BUNDLED)
        try:
            super().__init__(self._run(reads.read_entries(Operation(self._session), self._past.config)))
        except BaseException:
            self._past.close()
            raise

    @property
    def name(self) -> str:
        """The config's name."""
        return self.config

    def at(self, point: Point) -> Snapshot:
        """Read the whole map as it was at a version or a time; NotFoundError for a time before the first version."""
        return Snapshot(self._run(reads.at(self._session, self._entries, point)))

    def diff(self, old: Point, new: Point | None = None) -> dict[str, Change]:
        """Compare two versions or times; without a second one, up to the newest version. By key, in order."""
        return self._run(reads.diff(self._session, self.config, old, new))

    def log(self, *, limit: int | None = None, before: SupportsIndex | None = None) -> Iterator[Version]:
        """List the versions, newest first; with `before`, those older than that version."""
        return self._iterate(reads.log(self._session, self.config, limit, before))

    def history(self, key: str, *, newest_first: bool = False, limit: int | None = None) -> Iterator[KeyChange]:
        """List every change of one key, in version order."""
        return self._iterate(reads.history(self._session, self.config, key, limit, newest_first=newest_first))

    def blame(self, *keys: str) -> dict[str, Version]:
        """Return the version that set each key's value; without keys, of all. KeyError for a missing one."""
        return self._run(reads.blame(self._session, self._entries, keys))

    def verify(self) -> Version:
        """Walk the hash chain from version 1 to the newest, and return its header.

        Every hash is computed again from what the file holds, and what this bundle shows is compared with it. A hash
        noted elsewhere that equals the returned one's proves the whole past. DataLossError names the first version that
        is not as it was committed.
        """
        walk = ChainWalk(self._session, self._entries)
        messages = map(_as_streamed, self._past.messages())

        def perform(effect: Effect) -> Any:
            match effect:
                case Open():
                    return None
                case Receive():
                    return next(messages)
                case _:
                    return self._perform(effect)

        while (version := run(walk.step(), perform)) is None:
            pass
        return version

    def close(self) -> None:
        """Close the file."""
        self._past.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return super().__repr__().replace("Snapshot", "Bundle", 1)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        return object.__new__, (Snapshot,), self.__getstate__()

    if not TYPE_CHECKING:  # so that a type checker refuses what a Bundle does not have

        def __getattr__(self, name: str) -> NoReturn:
            if name in _OF_A_SERVER:
                raise AttributeError(
                    f"a Bundle is read-only, and has no {name}: that takes a server's Config", name=name
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

        def __setitem__(self, key: object, value: object) -> NoReturn:
            raise TypeError(
                "a Bundle is read-only: to_dict() makes a dict, `lamina-server restore` a config of it again"
            )

        def __delitem__(self, key: object) -> NoReturn:
            self[key] = None

    @short
    def _run(self, flow: Flow[Result]) -> Result:
        return run(flow, self._perform)

    def _iterate(self, listing: reads.Listing[Item]) -> Iterator[Item]:
        while (page := self._run(listing.next_page())) is not None:
            yield from page

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Call():
                return self._answer(effect)
            case Sleep() | Open() | Receive() | Invoke():
                raise AssertionError("a file is there at once, and only verify reads it like a stream")


if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name != "export":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from lamina.bundle.exporter import export  # noqa: PLC0415 - it loads gRPC, which a file does not need

        globals()[name] = export
        return export


def _as_streamed(message: pb.WatchKeyHistoryResponse) -> pb.WatchKeyHistoryResponse:
    """Leave out a version 1 without changes, which no stream contains."""
    if message.changes and message.changes[0].version.version == 1 and not message.changes[0].changes:
        del message.changes[0]
    return message
