"""The W3C's `baggage` header, read and written exactly by its grammar. Pure; it knows nothing of configs.

    baggage: user=ada%20b;ttl=60,lamina=payments/prod@17

A header is members with commas between; a member is a key, a value and properties. In a value, all but printable ASCII
is percent-encoded as UTF-8, and so are the quote, comma, semicolon, backslash and percent sign; a key never is. If the
header is sent twice, both together are one header, with a comma between. Source: "Propagation format for distributed
context: Baggage", W3C, the chapter on the HTTP header's format.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

MEMBERS_LIMIT: Final = 64
"""The number of members that every service must pass on."""
BYTES_LIMIT: Final = 8192
"""The number of bytes of a header that every service must pass on."""

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OCTETS: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_SPACE: Final = r"[ \t]*"
_PROPERTY: Final = rf"{_NAME}(?:{_SPACE}={_SPACE}{_OCTETS})?"
_MEMBER: Final = re.compile(
    rf"(?P<key>{_NAME}){_SPACE}={_SPACE}(?P<value>{_OCTETS})(?P<properties>(?:{_SPACE};{_SPACE}{_PROPERTY})*)"
)
_SAFE: Final = "!#$&'()*+-./:<=>?@[]^_`{|}~"
"""The characters beside letters and digits that a value holds unencoded. The percent sign begins an encoding."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `encoded` and the properties are as in the header, so that other services' members pass unchanged."""

    key: str
    encoded: str
    properties: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The value as text; bytes that are no UTF-8 become U+FFFD."""
        return unquote(self.encoded, errors="replace")

    def __str__(self) -> str:
        return ";".join((f"{self.key}={self.encoded}", *self.properties))


def member(key: str, value: str) -> Member:
    """Make a member from any text. The key must be a token as in RFC 7230."""
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
    """Return whether a header is within the standard's limits, so that every service must pass it on."""
    return len(members) <= MEMBERS_LIMIT and len(build(members)) <= BYTES_LIMIT
