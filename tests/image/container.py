"""Runs an image as an engine does: namespaces of its own, the image's user and variables, and a root that is read-only.

It shares the machine's network, so ports are the machine's.
"""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.image.building import Image

READY = re.compile(r"^lamina-server ready on (?P<target>\S+), ", re.MULTILINE)
START_SECONDS, STOP_SECONDS = 60.0, 30.0

_MOUNT = """
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -o remount,bind,ro "$1"
root=$1; shift
while [ "$1" != -- ]; do
  mount --bind "$1" "$root$2"
  if [ "$3" = ro ]; then mount -o remount,bind,ro "$root$2"; fi
  shift 3
done
shift
exec chroot --userspec="$USERSPEC" --groups= "$root" /usr/bin/env -i "$@"
"""
"""Arguments: the root; what to mount, where, and ro or rw, again and again; --; variables and the program."""


class Container:
    """An image's program, running. Use it as a context manager.

    volumes  folders of the machine by their paths in the container; those whose names end in `:ro` are read-only
    """

    def __init__(
        self,
        image: Image,
        root: Path,
        *arguments: str,
        volumes: Mapping[str, Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._image = image
        self._root = root
        self._volumes = volumes
        self._environment = [*image.environment, *(f"{name}={value}" for name, value in (environment or {}).items())]
        self._arguments = arguments or tuple(image.command)
        self.target = ""

    def __enter__(self) -> Self:
        self._process = self._popen(self._arguments)
        self._printed, self._ready = "", threading.Event()
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_SECONDS) or not (match := READY.search(self._printed)):
            self._process.kill()
            raise RuntimeError(f"the container did not get ready:\n{self._printed}")
        self.target = match["target"]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.kill(self.server_pid, signal.SIGKILL)  # its change of user has taken it away from --kill-child
        self._process.wait()
        self._reader.join()

    @property
    def printed(self) -> str:
        """Return both of its streams so far."""
        return self._printed

    @property
    def server_pid(self) -> int:
        """Return the process that has the id 1 in the container, by its id on this machine."""
        pid = self._process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(child)

    def stop(self) -> int:
        """Send SIGTERM, as engines do, and return the exit code."""
        os.kill(self.server_pid, signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the image's program with other arguments beside it, in a second container on the same volumes."""
        with self._popen(arguments) as process:
            printed, _ = process.communicate(timeout=START_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, printed)

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell beside it."""
        with self._popen((line,), entrypoint=("/bin/sh", "-c")) as process:
            printed, _ = process.communicate(timeout=START_SECONDS)
        return subprocess.CompletedProcess(line, process.returncode, printed)

    def _popen(self, arguments: Sequence[str], entrypoint: Sequence[str] = ()) -> "subprocess.Popen[str]":
        mounts = []
        for place, path in self._volumes.items():
            inside, is_read_only = place.removesuffix(":ro"), place.endswith(":ro")
            mounts += [str(path), inside, "ro" if is_read_only else "rw"]
        program = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _MOUNT, "sh"]
        inside_program = [
            "-C",
            self._image.folder,
            *self._environment,
            *(entrypoint or self._image.entrypoint),
            *arguments,
        ]
        return subprocess.Popen(
            [*program, str(self._root), *mounts, "--", *inside_program],
            env={**os.environ, "USERSPEC": self._image.user},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._printed += line
            if READY.search(line):
                self._ready.set()
        self._ready.set()
