"""The machine, and the versions of everything measured, as far as they explain a figure. Names no host."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lamina", "grpcio", "protobuf", "SQLAlchemy", "psycopg")


def describe(folder: Path) -> dict[str, str]:
    """Describe the machine, and the disk that a folder is on."""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "disk": file_system(folder),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions(others: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of all programs that take part."""
    packages = {name: _version(name) for name in PACKAGES}
    return {"Python": platform.python_version(), **packages, "SQLite": sqlite3.sqlite_version, **others}


def postgres_version(bindir: Path) -> str:
    """Return the version of PostgreSQL's program."""
    said = subprocess.run([bindir / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    return said.split()[2]


def resident_mb(pid: int) -> float:
    """Return how much memory a process holds (VmRSS), in millions of bytes."""
    return resident_bytes(pid) / 1_000_000


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kib) * 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, with all its threads and with its time in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def file_system(folder: Path) -> str:
    """Return the name of the file system, by the longest mount point above the folder."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = [(len(fields[1]), fields[2]) for fields in mounts if folder.resolve().is_relative_to(fields[1])]
    return max(above)[1] if above else "unknown"
