"""Writes a config's past into a bundle as it comes over a watch's stream. It knows neither the file's format nor calls.

Each hash is checked, and the file has its name only once all of it was found intact.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lamina._flows import reads
from lamina._flows.points import Point
from lamina._grpc.sync.walk import walk_chain
from lamina.errors import InvalidError
from lamina.records import Version
from lamina.sync import Config
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb


def export(
    config: Config,
    path: str | os.PathLike[str],
    *,
    at: Point | None = None,
    advance: Callable[[int], object] = lambda _versions: None,
) -> Version:
    """Write all versions of a config, up to the one that it stands on, into a file; return the last one's header.

    `at` names another last version, or a time.

    Verifies what `config.verify()` does, and raises as it does. Only the owner can read the file. It replaces another
    of that name as a whole or not at all; OSError if that name is not of a regular file. Staged changes stay out of it.
    `advance` is called with the number of versions that were written since its last call. Memory holds one version and
    the digests of one map; `timeout` counts for each message instead of the whole.
    """
    # Of the same package.
    shell, base = config._shell, config._base()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if at is not None:
        base = shell.run(reads.at(shell.session, base, at))
    if not base.header.number:
        raise InvalidError(f"there is no version of {base.header.config} to export", reason="BAD_REQUEST")
    with _replacing(Path(path)) as file:
        writer = bundle.Writer(file)
        version = walk_chain(shell, base, BundleExport(writer, advance))
        writer.finish(version.number, bytes.fromhex(version.hash))
    return version


class BundleExport:
    """The receiver that writes each version into a bundle, once a walk has found it intact."""

    def __init__(self, writer: bundle.Writer, advance: Callable[[int], object]) -> None:
        self._writer = writer
        self._advance = advance
        self._parts: list[pb.VersionChanges] = []

    def part(self, part: pb.VersionChanges) -> None:
        """Keep the parts of a version, and write them with the last one."""
        self._parts.append(part)
        if not part.more:
            for each in self._parts:
                self._writer.add(each)
            self._parts = []
            self._advance(1)

    def bookmark(self, cursor: pb.Cursor) -> None:
        """Write nothing."""

    def interrupted(self) -> None:
        """Drop the parts of a version that will arrive again."""
        self._parts = []


@contextmanager
def _replacing(path: Path) -> Generator[IO[bytes], None, None]:
    """Yield a file that gets its name only when the block has ended well; else nothing of it is left."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # root could replace even /dev/null, and break the machine
        raise OSError(errno.EINVAL, "it is no regular file, and only such a one is replaced", str(path))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:  # which names a file that nobody asked for
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
