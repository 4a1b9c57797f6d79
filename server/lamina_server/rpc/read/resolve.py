"""Which version a GetVersion request means."""

from lamina_server.domain.errors import CursorError, NotFoundError
from lamina_server.domain.records import Version
from lamina_server.wire.requests import GetVersionRequest


def resolve(head: Version | None, request: GetVersionRequest) -> int | None:
    """Return the number of the version that a request means, 0 for the empty map; None if its `time_us` decides.

    Raises CursorError if the head is older than `min_version`, and NotFoundError if there is
    no such config or version.
    """
    if request.min_version > (head.number if head else 0):
        raise CursorError.ahead(request.config, request.min_version, head)
    if head is None:
        raise NotFoundError.config(request.config)
    if request.page.resume:
        (number,) = request.page.resume.numbers
    elif request.time_us is not None:
        return None
    else:
        number = head.number if request.number is None else request.number
    if number > head.number:
        raise NotFoundError.version(request.config, number, head.number)
    return number
