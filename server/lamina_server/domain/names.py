"""The rules for config names, keys, request ids, authors and messages. Pure.

Each check returns its text, or raises BadNameError with the rule, the limit and the actual
size. The limits are the defaults of the public contract.
"""

import re
import unicodedata

CONFIG_NAME_LIMIT_BYTES = 255
KEY_LIMIT_BYTES = 512
"""Well below the limit of an index entry, which is a third of PostgreSQL's 8 KiB page."""
REQUEST_ID_LIMIT_BYTES = 128
AUTHOR_LIMIT_BYTES = 255
MESSAGE_LIMIT_BYTES = 4 * 1024

OWN_CONFIGS = frozenset({"_lamina/access"})
"""The configs of the server's own. No other name begins with an underscore."""

TOKEN = re.compile(r"lamina_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43,128})")
"""A token: its id, and its secret, which has at least the length of 256 bits in base64, so that nobody guesses it."""
NOT_A_NAME = (
    "looks like a token, which no name may hold: revoke that token by its id (lamina_ID_…), and give its name here"
)

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONFIG_NAME = re.compile(rf"{_SEGMENT.pattern}(/{_SEGMENT.pattern})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc, which never changes


class BadNameError(ValueError):
    """A name, key or other text breaks a rule. The message says which."""


def check_config_name(name: str, *, limit_bytes: int = CONFIG_NAME_LIMIT_BYTES) -> str:
    """Accept segments of `[A-Za-z0-9][A-Za-z0-9._-]*`, joined by `/`; and the configs of the server's own.

    >>> check_config_name("payments/prod")
    'payments/prod'
    """
    if (len(name) <= limit_bytes and _CONFIG_NAME.fullmatch(name)) or name in OWN_CONFIGS:
        return name
    what = "a config name"
    _check_size(what, name, limit_bytes, at_least=1)
    if name.startswith("_lamina/"):
        raise BadNameError(
            f"names that begin with '_lamina/' are reserved; there is only {', '.join(sorted(OWN_CONFIGS))}"
        )
    for segment in name.split("/"):
        if not segment:
            raise BadNameError(f"{what} consists of segments joined by '/', none of them empty")
        if not _SEGMENT.fullmatch(segment):
            raise BadNameError(
                f"{what}'s segments begin with a letter or digit of ASCII, and have nothing but these and . _ - in them"
            )
    return name


def check_key(key: str, *, limit_bytes: int = KEY_LIMIT_BYTES) -> str:
    """Accept any text in Unicode's normal form C without control characters, except the empty text."""
    if _is_plain(key, limit_bytes):
        return key
    what = "a key"
    _check_size(what, key, limit_bytes, at_least=1)
    _check_control(what, key)
    _check_normal(what, key)
    return key


def check_prefix(prefix: str, *, limit_bytes: int = KEY_LIMIT_BYTES) -> str:
    """Accept the beginning of a key, and the empty text, which is a prefix of every key."""
    what = "a prefix"
    _check_size(what, prefix, limit_bytes)
    _check_control(what, prefix)
    _check_normal(what, prefix)
    return prefix


def check_request_id(request_id: str, *, limit_bytes: int = REQUEST_ID_LIMIT_BYTES) -> str:
    """Accept any text without control characters, except the empty text."""
    if _is_plain(request_id, limit_bytes):
        return request_id
    what = "a request id"
    _check_size(what, request_id, limit_bytes, at_least=1)
    _check_control(what, request_id)
    return request_id


def check_author(author: str, *, limit_bytes: int = AUTHOR_LIMIT_BYTES) -> str:
    """Accept any text without control characters, except the empty text."""
    if _is_plain(author, limit_bytes):
        return author
    what = "an author"
    _check_size(what, author, limit_bytes, at_least=1)
    _check_control(what, author)
    return author


def check_message(message: str, *, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> str:
    """Accept any text without U+0000; it may have several lines."""
    if len(message) <= limit_bytes and message.isascii() and message.isprintable():
        return message
    what = "a message"
    _check_size(what, message, limit_bytes)
    if "\x00" in message:
        raise BadNameError(f"{what} must not have U+0000; there is one at position {message.index(chr(0))}")
    return message


def holds_token(text: str) -> bool:
    """Return whether a token stands in a text, most likely pasted there in the place of its name."""
    return "lamina_" in text and TOKEN.search(text) is not None


def without_token(text: str) -> str:
    """Return a text in which only the ids of its tokens are left, for an error or the audit."""
    return TOKEN.sub(r"lamina_\1_...", text)


def _is_plain(text: str, limit_bytes: int) -> bool:
    """Return whether a text is one that every rule accepts, which is quickly seen: printable ASCII, and not empty."""
    return 0 < len(text) <= limit_bytes and text.isascii() and text.isprintable()


def _check_size(what: str, text: str, limit_bytes: int, *, at_least: int = 0) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadNameError(f"{what} must not have a lone surrogate; there is one at position {error.start}") from None
    if size > limit_bytes:
        raise BadNameError(f"{what} has {size:,} bytes, the limit is {limit_bytes:,} bytes")
    if size < at_least:
        raise BadNameError(f"{what} has {size} bytes, it must have at least {at_least} byte")


def _check_control(what: str, text: str) -> None:
    if found := _CONTROL.search(text):
        code = ord(found.group())
        raise BadNameError(f"{what} must not have control characters; U+{code:04X} is at position {found.start()}")


def _check_normal(what: str, text: str) -> None:
    if not unicodedata.is_normalized("NFC", text):
        raise BadNameError(
            f"{what} must be in Unicode normal form C (NFC); this text has another form, which looks the same"
        )
