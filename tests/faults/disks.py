"""A small disk in memory, which can be filled to the last byte and emptied again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from io import FileIO
from pathlib import Path

from tests.support import absent

CHUNK = bytes(64 * 1024)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own at `folder`."""

    folder: Path

    def fill(self, *, but_bytes: int = 0) -> None:
        """Leave no byte free, or so many."""
        with self._filler.open("ab", buffering=0) as filler:
            _write_until_full(filler)
            if but_bytes:
                filler.truncate(filler.tell() - but_bytes)

    def clear(self) -> None:
        """Free the disk again."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


def _write_until_full(file: FileIO) -> None:
    # The last write that fits is cut short, and the one after it is refused.
    try:
        while file.write(CHUNK):
            pass
    except OSError as error:
        if error.errno != ENOSPC:
            raise


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of so many bytes while the block lasts."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "lamina-test", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        absent("mount", "apt install mount")
    if done.returncode:
        absent("the right to mount a file system", f"run as root: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily, because a test that fails may keep a file of it open for a while.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
