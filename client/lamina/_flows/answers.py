"""What an answer must be, whatever server gives it: about what was asked, in order, and with an end. Pure.

A server that breaks this is broken or hostile, or somebody has changed the answer on its way. Nothing of such an
answer is shown or kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from lamina.errors import DataLossError
from lamina_protos.v1 import lamina_pb2 as pb

Item = TypeVar("Item")

WRONG: Final = "; the server or the bundle is broken, or somebody has changed what it says"


def wrong(what: str) -> DataLossError:
    """Return the error for an answer that no server gives that does what it should."""
    return DataLossError(what + WRONG, reason="HASH_MISMATCH")


class Ascending(Generic[Item]):
    """Checks that items come once each and in order, over all pages of an answer.

    what   the items, in words for an error
    place  returns by what an item is ordered; it rises
    """

    def __init__(self, what: str, place: Callable[[Item], Any]) -> None:
        self._what = what
        self._place = place
        self._last: Any = None

    def check(self, items: Sequence[Item]) -> int:
        """Return how many items there are. Raise DataLossError if one does not come after the one before it."""
        last, place_of = self._last, self._place
        for item in items:
            place = place_of(item)
            if last is not None and not place > last:
                raise wrong(f"{self._what} came twice, or out of order")
            last = place
        self._last = last
        return len(items)


def check_progress(asked: str, token: str, count: int) -> None:
    """Raise DataLossError if a page leads to itself, or to another one and has nothing itself."""
    if token and (token == asked or not count):
        raise wrong("a page leads to no other")


class VersionPages:
    """Checks the pages of one version's map, one after the other."""

    def __init__(self, request: pb.GetVersionRequest) -> None:
        self._request = request
        self._first: pb.ConfigVersion | None = None
        self._count = 0
        self._order = Ascending[pb.Entry](f"keys of {request.config}", lambda entry: entry.key)

    def check(self, page: pb.ConfigVersion) -> int:
        """Return how many entries a page has. Raise DataLossError if it is not the next one that was asked for."""
        request, first = self._request, self._first
        if first is None:
            self._first = first = page
            self._check_first(page)
        elif (page.config, page.version, page.hash) != (first.config, first.version, first.hash):
            raise wrong(f"a page of version {first.version} of {first.config} is of another version")
        count = self._order.check(page.entries)
        self._count += count
        is_whole = request.view != pb.HEADER and not request.keys and not request.prefixes
        if self._count > first.key_count or (is_whole and not page.next_page_token and self._count < first.key_count):
            what = f"version {first.version} of {first.config} has {first.key_count} keys"
            raise wrong(f"{what}, and {self._count} came")
        return count

    def _check_first(self, page: pb.ConfigVersion) -> None:
        request = self._request
        if page.config != request.config:
            raise wrong(f"the answer about {request.config} is about {page.config!r}")
        if request.HasField("version"):
            if page.version != request.version:
                raise wrong(f"version {page.version} of {request.config} came instead of {request.version}")
        elif not request.HasField("time") and page.version < request.min_version:
            raise wrong(f"{request.config} ends at version {page.version}, this client has seen {request.min_version}")
