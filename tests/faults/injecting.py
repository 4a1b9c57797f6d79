"""Faults by strace: it makes system calls of running processes fail, or kills a process as it enters one."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support import absent

SYNC = "fsync,fdatasync"
END_SECONDS = 10.0
_FORBIDDEN = "Operation not permitted"


@dataclass(frozen=True, slots=True)
class Injection:
    """An injection of faults, which is under way or over."""

    trace: Path

    @property
    def happened(self) -> bool:
        """Whether a fault was injected so far."""
        text = self.trace.read_text(encoding="utf-8", errors="replace")
        return "(INJECTED)" in text or "killed by SIGKILL" in text


@contextmanager
def injecting(*pids: int, calls: str, what: str, trace: Path, only: Sequence[Path] = ()) -> Iterator[Injection]:
    """Inject faults into processes, with all their threads, while the block lasts.

    calls  names of system calls, with commas between them
    what   the fault, in strace's words: `error=EIO`, `signal=KILL:when=1`
    only   the files whose calls fail; they must exist
    """
    program = shutil.which("strace")
    if program is None:
        absent("strace", "apt install strace")
    paths = [part for path in only for part in ("-P", str(path))]
    rules = ["-e", f"trace={calls}", "-e", f"inject={calls}:{what}"]
    processes = [part for pid in pids for part in ("-p", str(pid))]
    command = [program, "-f", "-o", str(trace), *paths, *rules, *processes]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        _wait_until_attached(process.stderr, len(pids))
        yield Injection(trace)
    finally:
        process.terminate()  # strace detaches from the process, and ends
        process.communicate(timeout=END_SECONDS)


def _wait_until_attached(messages: IO[str], count: int) -> None:
    said = []
    for line in messages:
        said.append(line)
        count -= "attached" in line
        if not count:
            return
    text = "".join(said)
    if _FORBIDDEN in text:
        absent("the right to trace a process", "run as root, or with CAP_SYS_PTRACE")
    raise RuntimeError(f"strace did not attach:\n{text}")
