"""The rules for the fields of a request, and their limits. Knows no message.

A `Checker` belongs to one request. It collects all mistakes, so that the caller learns
them at once, and raises at the end. A size or a number that exceeds its limit raises at
once, with the limit and the actual figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lamina_server.domain import names
from lamina_server.domain.errors import InvalidError, LimitError, Reason, Violation
from lamina_server.domain.names import BadNameError
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value
from lamina_server.settings import Settings

_UTF8_LONGEST = 4
"""Bytes of a character, at most."""
VIOLATION_LIMIT = 16
"""No more fit into the trailers, and more would not help anybody."""


@dataclass(slots=True)
class Checker:
    """Checks the fields of one request; `done()` raises if any is wrong."""

    settings: Settings
    _violations: list[Violation] = field(default_factory=list)
    _reason: Reason = Reason.BAD_REQUEST

    def refuse(self, reason: Reason, path: str, description: str) -> None:
        """Note a mistake. The first reason becomes the reason of the whole request."""
        if not self._violations:
            self._reason = reason
        self._violations.append(Violation(path, description))
        if len(self._violations) == VIOLATION_LIMIT:
            self.done()

    def done(self) -> None:
        """Raise InvalidError if there was any mistake."""
        if self._violations:
            raise InvalidError(self._reason, self._violations)

    def config_name(self, path: str, name: str) -> str:
        """Check a config's name."""
        self.no_token(Reason.BAD_CONFIG_NAME, path, name)
        return self._text(Reason.BAD_CONFIG_NAME, path, name, names.check_config_name)

    def config_prefix(self, path: str, prefix: str) -> str:
        """Check the beginning of a config's name: made into a name in the shortest way, it must be valid."""
        if any(own.startswith(prefix) for own in names.OWN_CONFIGS):
            return prefix
        completed = f"{prefix}x" if not prefix or prefix.endswith("/") else prefix
        self._text(Reason.BAD_CONFIG_NAME, path, completed, names.check_config_name)
        return prefix

    def key(self, path: str, key: str) -> str:
        """Check a key."""
        return self._text(Reason.BAD_KEY, path, key, names.check_key)

    def request_id(self, path: str, request_id: str) -> str:
        """Check a request id."""
        return self._text(Reason.BAD_REQUEST, path, request_id, names.check_request_id)

    def message(self, path: str, message: str) -> str:
        """Check a commit's message."""
        self.size(path, message, names.MESSAGE_LIMIT_BYTES)
        if names.holds_token(message):
            self.refuse(Reason.BAD_REQUEST, path, "has a token in it, which every reader would see: revoke that token")
        return self._text(Reason.BAD_REQUEST, path, message, names.check_message)

    def author(self, path: str, author: str) -> str:
        """Check an author's name."""
        return self._text(Reason.BAD_REQUEST, path, author, names.check_author)

    def no_token(self, reason: Reason, path: str, name: str) -> None:
        """Refuse a name that is a token: it would be kept, and shown to others."""
        if names.holds_token(name):
            self.refuse(reason, path, names.NOT_A_NAME)

    def version(self, path: str, number: int) -> int:
        """Check a version's number; 0 is the empty map."""
        if number < 0:
            self.refuse(Reason.BAD_REQUEST, path, f"{number} is negative; versions begin at 1, 0 is the empty map")
        return number

    def keys(self, path: str, keys: Sequence[str]) -> tuple[str, ...]:
        """Check several keys, and drop repeated ones."""
        if not keys:
            return ()
        for index, key in enumerate(keys):
            self.key(f"{path}[{index}]", key)
        return tuple(dict.fromkeys(keys))

    def key_filter(self, keys: Sequence[str], prefixes: Sequence[str]) -> KeyFilter:
        """Check the keys and prefixes of a read or a watch."""
        self.count("keys and prefixes", len(keys) + len(prefixes), self.settings.filter_limit, "keys and prefixes")
        for index, prefix in enumerate(prefixes):
            self._text(Reason.BAD_KEY, f"prefixes[{index}]", prefix, names.check_prefix)
        checked = self.keys("keys", keys)
        # Every key begins with the empty prefix.
        return EVERYTHING if "" in prefixes else KeyFilter(checked, tuple(dict.fromkeys(prefixes)))

    def page_size(self, path: str, size: int) -> int:
        """Check a page's size. 0 leaves it to the server, and no page is larger than the server's limit."""
        if size < 0:
            self.refuse(Reason.BAD_REQUEST, path, f"{size} is negative; 0 leaves the size to the server")
        limit = self.settings.page_size_limit
        return min(size, limit) if size > 0 else limit

    def value_size(self, path: str, kind: str, value: Value, *, more_bytes: int = 0) -> None:
        """Refuse a value that is too large, by more than `more_bytes`."""
        size, limit = value.size_bytes, self.settings.value_limit_bytes + more_bytes
        if size > limit:
            raise LimitError(Reason.TOO_LARGE, f"{path}.{kind}", limit=limit, actual=size, unit="bytes")

    def size(self, path: str, text: str, limit_bytes: int) -> None:
        """Refuse a text that is too large."""
        if len(text) * _UTF8_LONGEST > limit_bytes:  # else it cannot be
            self._size(path, len(text.encode()), limit_bytes)

    def count(self, path: str, actual: int, limit: int, unit: str) -> None:
        """Refuse too many of something."""
        if actual > limit:
            raise LimitError(Reason.TOO_MANY, path, limit=limit, actual=actual, unit=unit)

    def _size(self, path: str, actual: int, limit: int) -> None:
        if actual > limit:
            raise LimitError(Reason.TOO_LARGE, path, limit=limit, actual=actual, unit="bytes")

    def _text(self, reason: Reason, path: str, text: str, check: Callable[[str], str]) -> str:
        try:
            return check(text)
        except BadNameError as error:
            self.refuse(reason, path, str(error))
            return text
