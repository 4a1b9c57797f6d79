"""A folder with the backups of one database: each is named by its time, and the oldest make room for new ones."""

import re
from datetime import UTC, datetime
from pathlib import Path

from lamina_server.store.address import SqliteAddress, parse
from lamina_server.store.contract import UnusableStoreError

_TIME = "%Y%m%dT%H%M%SZ"


class BackupFolder:
    """The backups of the database at an address, in a folder that is there already."""

    def __init__(self, folder: Path, url: str) -> None:
        address = parse(url)
        path = address.path if isinstance(address, SqliteAddress) else None
        self._folder = folder
        self._stem = path.stem if path else "lamina"  # the backup itself refuses what is no file
        self._pattern = re.compile(rf"{re.escape(self._stem)}-\d{{8}}T\d{{6}}Z\.db")

    def next(self, now: datetime) -> Path:
        """Return the file of a backup that is made now."""
        return self._folder / f"{self._stem}-{now.astimezone(UTC).strftime(_TIME)}.db"

    def thin_out(self, keep: int, made: Path) -> list[Path]:
        """Remove all backups but the newest, and return those. Other files of the folder stay.

        The backup that was made now counts as the newest, although a clock that was wrong may have named a later one.

        Raises UnusableStoreError.
        """
        try:
            found = sorted(path for path in self._folder.iterdir() if self._pattern.fullmatch(path.name))
            older = [path for path in found if path != made and path.is_file()]
            removed = older[: max(len(older) + 1 - keep, 0)]
            for path in removed:
                path.unlink()
        except OSError as error:
            text = f"the backup was made, but older ones cannot be removed: {error.strerror}: {error.filename!r}"
            raise UnusableStoreError(text) from error
        return removed
