"""The W3C's `baggage` header: read and written by the letter of its grammar. Pure; it knows nothing of configs.

    baggage: user=ada%20b;ttl=60,lamina=payments/prod@17

A header is members with commas between; a member is a key, a value and properties. Of a value what is not printable
ASCII, and the quote, comma, semicolon, backslash and percent sign, is percent-encoded as UTF-8; a key never is. The
same header sent twice is one, with a comma between. Source: "Propagation format for distributed context: Baggage", W3C,
the chapter on the HTTP header's format.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

MEMBERS_LIMIT: Final = 64
"""So many members everybody on the way has to pass on, and no more."""
BYTES_LIMIT: Final = 8192
"""So many bytes of a header everybody on the way has to pass on, and no more."""

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OCTETS: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_SPACE: Final = r"[ \t]*"
_PROPERTY: Final = rf"{_NAME}(?:{_SPACE}={_SPACE}{_OCTETS})?"
_MEMBER: Final = re.compile(
    rf"(?P<key>{_NAME}){_SPACE}={_SPACE}(?P<value>{_OCTETS})(?P<properties>(?:{_SPACE};{_SPACE}{_PROPERTY})*)"
)
_SAFE: Final = "!#$&'()*+-./:<=>?@[]^_`{|}~"
"""What a value may hold as it is, beside letters and digits. Not the percent sign, that is an encoding's."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `encoded`, and the properties, are as in the header: somebody else's go on as they came."""

    key: str
    encoded: str
    properties: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The value as text; what is no UTF-8 in it becomes U+FFFD."""
        return unquote(self.encoded, errors="replace")

    def __str__(self) -> str:
        return ";".join((f"{self.key}={self.encoded}", *self.properties))


def member(key: str, value: str) -> Member:
    """Make a member of any text. The key is the writer's to choose, a token as in RFC 7230."""
    return Member(key, quote(value, safe=_SAFE))


def parse(header: str) -> list[Member]:
    """Read a header's members, in order; a malformed one is left out."""
    found: list[Member] = []
    for text in header.split(","):
        if match := _MEMBER.fullmatch(text.strip(" \t")):
            properties = (each.strip(" \t") for each in match["properties"].split(";")[1:])
            found.append(Member(match["key"], match["value"], tuple(properties)))
    return found


def build(members: Iterable[Member]) -> str:
    """Write a header."""
    return ",".join(map(str, members))


def fits(members: list[Member]) -> bool:
    """Return whether everybody on the way has to pass it on, by the standard's limits."""
    return len(members) <= MEMBERS_LIMIT and len(build(members)) <= BYTES_LIMIT
