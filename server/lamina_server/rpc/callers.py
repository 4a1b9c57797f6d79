"""The caller and the author of a call, as its metadata tells them. Knows no message.

Without authentication all calls have the same caller, and each may name any author: the log
shows that name to people, marked as unverified.
"""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.names import BadNameError, check_author
from lamina_server.domain.planning import Author

AUTHOR_KEY = "lamina-author"
ANONYMOUS = "anonymous"
_ANONYMOUS = Author(ANONYMOUS)

UNKNOWN_CALLER = ""
"""The caller in the request keys of a server without authentication."""

Metadata = Sequence[tuple[str, str | bytes]]


def author(metadata: Metadata) -> Author:
    """Return the author of a write, which metadata holds as percent-encoded UTF-8 because it is limited to ASCII."""
    given = [value for key, value in metadata if key == AUTHOR_KEY]
    if not given:
        return _ANONYMOUS
    if len(given) > 1:
        raise _refusal("is given more than once")
    return _author(str(given[0]))


@lru_cache(maxsize=1_024)
def _author(given: str) -> Author:
    try:
        return Author(check_author(unquote(given, errors="strict")))
    except UnicodeDecodeError:
        raise _refusal("is not percent-encoded UTF-8") from None
    except BadNameError as error:
        raise _refusal(str(error)) from None


def _refusal(description: str) -> InvalidError:
    return InvalidError(Reason.BAD_REQUEST, [Violation(f"metadata.{AUTHOR_KEY}", description)])
