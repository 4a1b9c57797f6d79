"""The last-known-good files of followed configs, from which a live begins if no server answers. Knows no client.

There is one for each target and config: a label, which is a line of JSON, then the version's message without the
contents of secrets, and, if there is a key for them, these contents, encrypted. A new file
is written beside it, synced and renamed, so that a reader always finds a whole file. The folder is locked for that, and
the old file is read first, so that many processes never write an older version. The modification time is when a server
last said that this version is the head.

Worked example: of two processes one has seen version 9, the other 10. In either order of writing, the file ends with
10, as the slower process finds 10 there. A backup is restored, with version 5 for its head, and no server confirms 10
any more: after two minutes 5 is written.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeAlias

from google.protobuf.message import DecodeError

from lamina import _environment
from lamina._live.vault import CacheSecrets, Vault, vault_of
from lamina._mapping.entries import Entries, has_content, sealed
from lamina._mapping.secret import Absence
from lamina._runtime import private_files
from lamina._runtime.log import log
from lamina._wire.messages import PagedEntries, header_of, version_of
from lamina.records import Version
from lamina_protos.v1 import lamina_pb2 as pb

# Modules that only lives need are imported in functions, so that a client that only reads connects sooner.
if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

CacheDir: TypeAlias = str | os.PathLike[str]

FORMAT: Final = 1
FORSAKEN_SECONDS: Final = 120.0
"""If no server has confirmed a later version for this long, a backup was restored. A live confirms it every 30 s, and a
server learns about commits of another one within a few seconds."""

_LABEL_BYTES: Final = 1 << 16
_NAME_CHARACTERS: Final = 80
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CachedVersion(NamedTuple):
    """A version from a file, and when a server last said that it is the head, in seconds since the epoch."""

    entries: Entries
    known_at: float


class Cache:
    """The files of one client. Threads may share it. The folder "" keeps nothing; None is the user's own."""

    def __init__(self, folder: str | None, target: str, vault: Vault | None = None) -> None:
        self._given = folder
        self._target = target
        self._vault = vault

    @property
    def is_on(self) -> bool:
        """Whether there is a folder."""
        return self._folder is not None

    @cached_property
    def _folder(self) -> "Path | None":
        from pathlib import Path  # noqa: PLC0415

        try:
            if self._given is not None:
                return Path(self._given).expanduser().absolute() if self._given else None
            return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamina"
        except RuntimeError as error:  # a user without a home, as in some containers
            if self._given is not None:
                log.warning("no last-known-good file is kept in %s: %s", self._given, error)
            return None

    def has(self, config: str) -> bool:
        """Return whether there is a file of a config, even an unusable one."""
        return self._folder is not None and self._path(self._folder, config).exists()

    def load(self, config: str) -> CachedVersion | None:
        """Return the version in a config's file, or None. A file that cannot be trusted is logged, and is None too."""
        if self._folder is None:
            return None
        try:
            with self._path(self._folder, config).open("rb") as file:
                return self._read(config, file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: its last-known-good file is of no use: %s", config, error)
            return None

    def keep(self, entries: Entries, known_at: float) -> None:
        """Write a version that was the head at that time, unless the file has a newer one. OSError if that fails."""
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(self._folder, entries.header.config)
        secrets = [] if self._vault is None else [entry for entry in entries.messages() if has_content(entry)]
        key_name = self._vault.key_name if self._vault is not None and secrets else None
        if _is_current(path, entries.header, known_at, key_name):
            return
        content = self._content(entries, secrets)
        with _locked(self._folder):
            if not _is_current(path, entries.header, known_at, key_name):
                private_files.replace(path, content, modified_at=known_at)

    def _path(self, folder: "Path", config: str) -> "Path":
        from urllib.parse import quote  # noqa: PLC0415

        named = _digest(f"{self._target}\0{config}".encode())[:16]
        return folder / f"{quote(config, safe='')[:_NAME_CHARACTERS]}.{named}.lkg"

    def _content(self, entries: Entries, secrets: list[pb.Entry]) -> bytes:
        message = header_of(entries.header)
        message.entries.extend(map(sealed, entries.messages()))
        body, more = message.SerializeToString(), {}
        if self._vault is not None and secrets:
            contents = pb.ConfigVersion(entries=secrets).SerializeToString()
            encrypted = self._vault.seal(contents, self._bound_to(entries.header))
            more = {"secrets": len(encrypted), "key": self._vault.key_name}
            body += encrypted
        return json.dumps(self._label(entries.header, body) | more).encode() + b"\n" + body

    def _bound_to(self, header: Version) -> bytes:
        return json.dumps([FORMAT, self._target, header.config, header.number, header.hash]).encode()

    def _label(self, header: Version, body: bytes) -> dict[str, Any]:
        return {
            "lamina": FORMAT,
            "target": self._target,
            "config": header.config,
            "version": header.number,
            "hash": header.hash,
            "sha256": _digest(body),
        }

    def _read(self, config: str, file: BinaryIO) -> CachedVersion:
        label, body, known_at = _checked(file)
        size = label.pop("secrets", 0)
        label.pop("key", None)
        try:
            place = len(body) - int(size)
            message = pb.ConfigVersion.FromString(body[:place])
        except (DecodeError, TypeError):
            raise ValueError("it is damaged") from None
        header = version_of(message)
        if header.config != config or label != self._label(header, body):
            raise ValueError("it is damaged, or another one's")
        self._add_contents(message, header, body[place:])
        is_whole = all(has_content(entry) for entry in message.entries if entry.value.HasField("secret"))
        absence = Absence.NOT_REVEALED if is_whole else Absence.CACHED
        return CachedVersion(Entries(header, PagedEntries([message]), absence), known_at)

    def _add_contents(self, message: pb.ConfigVersion, header: Version, encrypted: bytes) -> None:
        """Put the contents of secrets into their entries, as far as there is a key for them."""
        if self._vault is None or not encrypted:
            return
        try:
            contents = pb.ConfigVersion.FromString(self._vault.open(encrypted, self._bound_to(header)))
        except Exception as error:  # noqa: BLE001 - also of the user's function: the rest of the file is of use
            log.warning("%s: the secrets in its last-known-good file cannot be read: %s", header.config, error)
            return
        found = {entry.key: entry for entry in contents.entries}
        for entry in message.entries:
            if entry.key in found:
                entry.CopyFrom(found[entry.key])


def cache_of(cache_dir: CacheDir | None, addresses: Iterable[str], cache_secrets: CacheSecrets | None) -> Cache:
    """Return the cache of a client of these addresses; see `lamina.connect` for the folder. No I/O."""
    given: object = _environment.given(_environment.CACHE_DIR) if cache_dir is None else cache_dir
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str | None):  # pyright: ignore[reportUnnecessaryIsInstance] - for code without a checker
        raise TypeError(f"cache_dir= is text or a path of text, not {type(given).__name__}")
    return Cache(given, ",".join(sorted(addresses)), vault_of(cache_secrets))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _checked(file: BinaryIO) -> tuple[dict[str, Any], bytes, float]:
    """Read a file's label and body, and when it was known to be the head; ValueError if it is damaged."""
    status = os.fstat(file.fileno())
    if sys.platform != "win32" and (status.st_uid not in {os.geteuid(), 0} or status.st_mode & _OTHERS_MAY_WRITE):
        raise ValueError("others than its owner, who runs this, may have written it")
    line, body = file.readline(_LABEL_BYTES), file.read()
    label: dict[str, Any] = json.loads(line)  # if it is an object at all
    try:
        is_whole = label["sha256"] == _digest(body)
    except (KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise ValueError("it is damaged")
    return label, body, status.st_mtime


def _is_current(path: "Path", header: Version, known_at: float, key_name: str | None) -> bool:
    """Return whether a file holds this version or a later one. For this one, record when it was the head.

    A damaged file is to be written again, even if it names the same version; and so is one that does not have the
    secrets under the key of this name.
    """
    try:
        with path.open("rb") as file:
            label, _, confirmed_at = _checked(file)
            number, has_same_past = int(label["version"]), label["hash"] == header.hash
            has_secrets = key_name in {None, label.get("key")}
    except (OSError, ValueError, KeyError, TypeError):
        return False  # there is no file, or it is unusable
    if number == header.number and has_same_past and not has_secrets:
        return False
    if number == header.number and has_same_past:
        if known_at > confirmed_at:
            os.utime(path, (known_at, known_at))
        return True
    if number == header.number:
        return confirmed_at > known_at
    return number > header.number and known_at - confirmed_at < FORSAKEN_SECONDS


@contextmanager
def _locked(folder: "Path") -> Generator[None, None, None]:
    """Keep other processes and threads from writing; on systems without such locks the last one wins."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.fsync(descriptor)  # syncs the new name too
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child has the descriptor too, and would hold the lock
    finally:
        os.close(descriptor)
