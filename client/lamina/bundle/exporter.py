"""Writes a config's past from a watch's stream into a bundle. It knows neither the file's format nor calls.

Each hash is checked, and the file gets its name only when everything was found intact.
"""

import os
from collections.abc import Callable
from typing import Final

from lamina._flows import reads
from lamina._flows.points import Point
from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.walk import walk_chain
from lamina._mapping.entries import Entries
from lamina._mapping.values import without_content
from lamina._runtime.arguments import checked
from lamina._runtime.public import public
from lamina.bundle import files
from lamina.errors import InvalidError, VersionCompactedError
from lamina.records import Version
from lamina.sync import Config
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb

_KEY_NUMBER: Final = slice(4, 12)
"""The bytes of a sealed secret that hold the number of its data key: see protos/BUNDLE.md."""


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

    Verifies what `config.verify()` does, and raises as it does; VersionCompactedError if the config was compacted.
    `advance` is called with the number of versions written since its last call. Staged changes are not exported.
    Secrets are exported as the server has sealed them.

    A new file is readable by its owner alone. A file that is there is replaced as a whole or not at all, and keeps its
    owner and mode. A pipe, a device or the name of an open descriptor (/dev/stdout) is written as a stream: if this
    raises, the part that was written is not read as a whole bundle.

    Memory holds one version and the digests of one map. `timeout` counts for each message instead of the whole.
    """
    checked(advance, "advance=")
    if not isinstance(config, Config):  # pyright: ignore[reportUnnecessaryIsInstance] - it may be one of lamina.aio
        raise TypeError("export writes a lamina.Config, which lamina.connect() gives, and no other object")
    # Of the same package.
    shell, base = config._shell, config._base()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if at is not None:
        base = shell.run(reads.at(shell.session, base, at))
    if not base.header.number:
        raise InvalidError(f"there is no version of {base.header.config} to export", reason="BAD_REQUEST")
    with files.written(path, private=True) as file:
        writer = bundle.Writer(file)
        exported = BundleExport(writer, advance)
        version = _walk(shell, base, exported)
        if exported.key_numbers:
            keys = shell.run(reads.secret_keys(shell.session, version.config))
            writer.add_secret_keys([key for key in keys if key.number in exported.key_numbers])
        writer.finish(version.number, bytes.fromhex(version.hash))
    return version


def _walk(shell: Shell, base: Entries, exported: "BundleExport") -> Version:
    try:
        return walk_chain(shell, base, exported)
    except VersionCompactedError as error:
        text = (
            f"the whole past of {base.header.config} cannot be exported, because it is compacted: versions before "
            f"{error.oldest_version} have no values any more (a map of a later version can be exported without history)"
        )
        raise VersionCompactedError(text, oldest_version=error.oldest_version) from error


class BundleExport:
    """Writes each version into a bundle when a walk has found it intact.

    key_numbers  of the data keys that have sealed its secrets
    """

    def __init__(self, writer: bundle.Writer, advance: Callable[[int], object]) -> None:
        self._writer = writer
        self._advance = advance
        self.key_numbers: set[int] = set()
        self._parts: list[pb.VersionChanges] = []

    def part(self, part: pb.VersionChanges) -> None:
        """Keep the parts of a version, without the contents of secrets, and write them with the last one."""
        for change in part.changes:
            if change.value.HasField("secret"):
                change.value.CopyFrom(without_content(change.value))
                self.key_numbers.add(int.from_bytes(change.value.secret.sealed[_KEY_NUMBER]))
        self._parts.append(part)
        if not part.more:
            for each in self._parts:
                self._writer.add(each)
            self._parts = []
            self._advance(1)

    def bookmark(self, cursor: pb.Cursor) -> None:
        """Ignore a bookmark."""

    def interrupted(self) -> None:
        """Drop the parts of a version that will arrive again."""
        self._parts = []
