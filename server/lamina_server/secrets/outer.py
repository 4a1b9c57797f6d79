"""The outer key, which wraps data keys, and is not in the database: a file, or a command. Knows no store."""

import base64
import binascii
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from lamina_server.domain.errors import OperatorError

_KEY_BYTES: Final = 32
_FILE_LIMIT_BYTES: Final = 4_096
_ANSWER_LIMIT_BYTES: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_KEY_ITSELF: Final = re.compile(r"[A-Za-z0-9+/]{42,43}=?")
_NAME_TAG: Final = b"lamina/outer-key/1"


class OuterKeyError(OperatorError):
    """The outer key cannot be used. The text says why, for the operator.

    is_lasting  whether only the operator can mend it, so that it is no use to try again
    is_late     whether there was no answer in time, so that whoever asks for more waits as long again
    """

    def __init__(self, text: str, *, is_lasting: bool, is_late: bool = False) -> None:
        super().__init__(text)
        self.is_lasting = is_lasting
        self.is_late = is_late


class OuterKeySettingError(OuterKeyError):
    """What the settings say of the outer key cannot be used.

    setting  the setting's name; empty if it is not known here
    """

    setting = ""

    def __init__(self, text: str) -> None:
        super().__init__(text, is_lasting=True)


class OuterKey(Protocol):
    """Wraps and unwraps data keys. Its methods block.

    name  which one it is, for the operator
    """

    @property
    def name(self) -> str:
        """Which one it is."""

    def wrap(self, key: bytes) -> bytes:
        """Encrypt a data key. Raise OuterKeyError."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt a data key. Raise OuterKeyError."""


class LocalKey:
    """An outer key in this process: 32 bytes, which wrap by AES Key Wrap (RFC 3394)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.name = f"local:{hashlib.sha256(_NAME_TAG + key).hexdigest()[:8]}"

    def wrap(self, key: bytes) -> bytes:
        """Encrypt a data key."""
        return aes_key_wrap(self._key, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt a data key."""
        try:
            return aes_key_unwrap(self._key, wrapped)
        except (InvalidUnwrap, ValueError):
            raise OuterKeyError(f"the outer key {self.name} has not encrypted it", is_lasting=True) from None

    @classmethod
    def random(cls) -> "LocalKey":
        """Make one that ends with the process."""
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def in_file(cls, path: Path) -> "LocalKey":
        """Read one from a file, in base64. Raise OuterKeySettingError if other accounts may read it."""
        return cls(_read(path))


class CommandKey:
    """The outer key behind a command, which gets the word `wrap` or `unwrap`, and the bytes on its stdin."""

    name = "command"

    def __init__(self, command: str, *, limit_seconds: float) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError:
            self._words = []
        # No error repeats the command: people put passwords into the wrong place.
        if not self._words or shutil.which(self._words[0]) is None:
            text = "the first word of the outer key's command is no program that can be run here"
            raise OuterKeySettingError(text)
        self._limit_seconds = limit_seconds

    def wrap(self, key: bytes) -> bytes:
        """Encrypt a data key."""
        return self._run("wrap", key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt a data key."""
        return self._run("unwrap", wrapped)

    def _run(self, word: str, given: bytes) -> bytes:
        """Run the command. What it prints to stderr goes to the server's own, and into no error."""
        what = f"the outer key's command ({word})"
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                [*self._words, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise OuterKeyError(f"{what}: {error.strerror}", is_lasting=False) from None
        with process:
            try:
                answer, _ = process.communicate(given, timeout=self._limit_seconds)
            except subprocess.TimeoutExpired:
                _kill(process)
                text = f"{what} did not end within {self._limit_seconds:g} s"
                raise OuterKeyError(text, is_lasting=False, is_late=True) from None
            except BaseException:
                _kill(process)
                raise
        if process.returncode:
            raise OuterKeyError(f"{what} ended with {process.returncode}", is_lasting=False)
        if not 0 < len(answer) <= _ANSWER_LIMIT_BYTES:
            raise OuterKeyError(f"{what} printed {len(answer):,} bytes", is_lasting=False)
        return answer


def outer_key(
    file: Path | None, command: str | None, limit_seconds: float, *, name: str = "secret_key"
) -> OuterKey | None:
    """Return the outer key of the settings whose names begin so; None if there is none. Raise OuterKeySettingError."""
    try:
        if file is not None:
            return LocalKey.in_file(file)
        return CommandKey(command, limit_seconds=limit_seconds) if command is not None else None
    except OuterKeySettingError as error:
        error.setting = f"{name}_file" if file is not None else f"{name}_command"
        raise


def _read(path: Path) -> bytes:
    shown = shlex.quote(str(path))
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_FILE_LIMIT_BYTES)
    except OSError as error:
        if _KEY_ITSELF.fullmatch(str(path)):  # which no error may repeat
            text_ = "the outer key was given in place of the path of its file: put it into a file"
            raise OuterKeySettingError(text_) from None
        raise OuterKeySettingError(f"cannot read the outer key {str(path)!r}: {error.strerror}") from None
    if status.st_mode & _forbidden(status):
        mode = stat.S_IMODE(status.st_mode)
        text_ = f"other accounts may read the outer key {str(path)!r} (mode {mode:04o}): run chmod 600 {shown}"
        raise OuterKeySettingError(text_)
    key = b""
    with suppress(binascii.Error):
        key = base64.b64decode(text.strip(), validate=True)
    if len(key) != _KEY_BYTES:
        # It names no command that makes a key: pasted, that would replace what is left of the key of a database.
        what = f"{str(path)!r} must hold {_KEY_BYTES} random bytes in base64"
        remedy = "put the key back by which its secrets were encrypted; if it has none yet, make a key in a new file"
        raise OuterKeySettingError(f"{what}. A database has one outer key: {remedy}")
    return key


def _forbidden(status: os.stat_result) -> int:
    """Return the rights that others may not have on a key's file.

    Kubernetes (with `fsGroup`) and systemd (its credentials) hand a secret over as a file of root that the group of the
    service may read. A service that is not root can read it in no other way.
    """
    is_handed_over = status.st_uid == 0 and os.geteuid() != 0
    return _OTHERS & ~stat.S_IRGRP if is_handed_over else _OTHERS


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and all that it has started, which may hold its pipes open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
