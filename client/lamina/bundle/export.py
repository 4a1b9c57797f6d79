"""Writes a config's past into a bundle as it comes over a watch's stream. It knows neither the file's format nor calls.

It believes nothing: each hash is made anew, and the file has its name only once all of it was found intact.
"""

import os
from collections.abc import Callable

from lamina._flows import reads
from lamina._flows.points import Point
from lamina._flows.session import Session
from lamina._grpc.sync.walk import walked
from lamina._mapping.entries import Entries
from lamina._runtime.arguments import checked
from lamina._runtime.public import public
from lamina._streams.verify import Verifying
from lamina.bundle import files
from lamina.errors import InvalidError
from lamina.records import Version
from lamina.sync import Config
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb


@public("lamina.bundle")
def export(
    config: Config,
    path: str | os.PathLike[str],
    *,
    at: Point | None = None,
    advance: Callable[[int], object] = lambda _versions: None,
) -> Version:
    """Write all versions of a config, up to the one that it stands on, into a file; return the last one's header.

    `at` names another last version, or a time.

    Verifies on the way what `config.verify()` does, and raises as it does. A new file is readable by its owner alone.
    One that is there is replaced as a whole or not at all, and keeps its owner and mode. A pipe, a device or the name
    of an open descriptor (/dev/stdout) is written as a stream: where this raises, a part of the bundle stands there,
    which no reader takes for a whole one. Staged changes stay behind. `advance` is told how many more versions were
    written. Memory holds one version and the digests of one map; `timeout` counts for each message instead of the
    whole.
    """
    checked(advance, "advance=")
    # Of the same package.
    shell, base = config._shell, config._base()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if at is not None:
        base = shell.run(reads.at(shell.session, base, at))
    if not base.header.number:
        raise InvalidError(f"there is no version of {base.header.config} to export", reason="BAD_REQUEST")
    with files.written(path, private=True) as file:
        writer = bundle.Writer(file)
        version = walked(shell, Exporting(shell.session, base, writer, advance))
        writer.finish(version.number, bytes.fromhex(version.hash))
    return version


class Exporting(Verifying):
    """A walk along the hash chain that writes each version down once it was found intact."""

    def __init__(
        self, session: Session, base: Entries, writer: bundle.Writer, advance: Callable[[int], object]
    ) -> None:
        super().__init__(session, base)
        self._writer = writer
        self._advance = advance
        self._version: list[pb.VersionChanges] = []

    def _forget_parts(self) -> None:
        super()._forget_parts()
        self._version = []

    def _take_part(self, part: pb.VersionChanges) -> None:
        super()._take_part(part)
        self._version.append(part)
        if not part.more:
            for each in self._version:
                self._writer.add(each)
            self._version = []
            self._advance(1)
