"""Who calls, as far as the metadata of the call tells. Knows no message.

Without authentication everybody is the same caller, and names an author at will: a name
in the log for people, marked as unverified.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.names import BadNameError, check_author
from lamina_server.domain.planning import Author

AUTHOR_KEY = "lamina-author"
ANONYMOUS = "anonymous"

UNKNOWN_CALLER = ""
"""The caller in a request's key on a server without authentication."""

Metadata = Sequence[tuple[str, str | bytes]]


def author(metadata: Metadata) -> Author:
    """Read the author of a write: percent-encoded UTF-8, because metadata holds ASCII alone."""
    given = [str(value) for key, value in metadata if key == AUTHOR_KEY]
    if not given:
        return Author(ANONYMOUS)
    if len(given) > 1:
        raise _refusal("is given more than once")
    try:
        return Author(check_author(unquote(given[0], errors="strict")))
    except UnicodeDecodeError:
        raise _refusal("is not percent-encoded UTF-8") from None
    except BadNameError as error:
        raise _refusal(str(error)) from None


def _refusal(description: str) -> InvalidError:
    return InvalidError(Reason.BAD_REQUEST, [Violation(f"metadata.{AUTHOR_KEY}", description)])
