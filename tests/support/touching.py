"""What somebody may do to the file `lamina.db` that a server has open."""

from pathlib import Path

PAGE_BYTES = 4096
KEPT_PAGES = 32
"""More than the schema has, so that a server can open the file."""


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def set_aside(path: Path) -> None:
    """Do what the README says: mkdir replaced && mv lamina.db* replaced/."""
    (path.parent / "replaced").mkdir()
    for each in path.parent.glob("lamina.db*"):
        each.rename(path.parent / "replaced" / each.name)


def link(path: Path) -> None:
    path.with_name("second.db").hardlink_to(path)


def remove_log(path: Path) -> None:
    beside(path, "-wal").unlink()


def damage_pages(path: Path) -> None:
    """Overwrite the headers of all pages but the first ones, as a failing disk does; the file's own header stays."""
    with path.open("r+b") as file:
        for page in range(KEPT_PAGES, path.stat().st_size // PAGE_BYTES):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xff" * 8)


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
