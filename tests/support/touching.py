"""What somebody may do to the file `lamina.db` that a server has open."""

from pathlib import Path


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


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
