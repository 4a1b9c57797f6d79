"""Answers the calls for one config from a bundle, as a server would, so that the same flows also work on a file.

It knows only the calls that reading verbs make. A list has pages of PAGE_ITEMS, because it may be long and its reader
may stop; a map and a difference have one page.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lamina._flows.effects import Call
from lamina._mapping.values import load
from lamina.bundle.index import BundleIndex
from lamina.errors import NotFoundError
from lamina_protos.v1 import lamina_pb2 as pb

PAGE_ITEMS: Final = 500


class Answers:
    """Answers calls from a bundle's index."""

    def __init__(self, past: BundleIndex) -> None:
        self._past = past
        self._answers: Mapping[str, Callable[[Any], Any]] = {
            "GetVersion": self._get_version,
            "ListVersions": self._list_versions,
            "DiffVersions": self._diff_versions,
            "GetKeyHistory": self._get_key_history,
        }

    def __call__(self, call: Call) -> Any:
        """Return the reply to a call, or raise the error that a server would."""
        return self._answers[call.rpc.name](call.request)

    def _get_version(self, request: pb.GetVersionRequest) -> pb.ConfigVersion:
        past = self._past
        number = past.version_at(request.time) if request.HasField("time") else self._checked(request, "version")
        if not number:
            return pb.ConfigVersion(config=past.config)
        reply = pb.ConfigVersion()
        reply.CopyFrom(past.header(number))
        if request.view != pb.HEADER:
            assert not request.prefixes, "no flow asks by prefix"
            self._add_entries(reply, request.keys or past.all_keys(), with_origins=request.view == pb.BLAME)
        return reply

    def _add_entries(self, reply: pb.ConfigVersion, keys: Iterable[str], *, with_origins: bool) -> None:
        origins = ((self._past.origin(key, reply.version), key) for key in keys)
        entries: list[pb.Entry] = []
        headers: dict[int, pb.ConfigVersion] = {}
        for header, change in self._past.changes((origin, key) for origin, key in origins if origin):
            entries.append(pb.Entry(key=change.key, value=change.value, origin_version=header.version))
            headers[header.version] = header
        reply.entries.extend(sorted(entries, key=lambda entry: entry.key))
        if with_origins:
            reply.origins.extend(headers.values())

    def _list_versions(self, request: pb.ListVersionsRequest) -> pb.ListVersionsResponse:
        before = request.before_version if request.HasField("before_version") else self._past.head + 1
        before = int(request.page_token or before)
        last = max(before - (request.page_size or PAGE_ITEMS), 1)
        headers = [self._past.header(number) for number in range(before - 1, last - 1, -1)]
        return pb.ListVersionsResponse(versions=headers, next_page_token=str(last) if last > 1 else "")

    def _diff_versions(self, request: pb.DiffVersionsRequest) -> pb.DiffVersionsResponse:
        past = self._past
        sides = [self._checked(request, "from_version"), self._checked(request, "to_version")]
        changed = [key for key in past.all_keys() if len({past.last_change(key, number) for number in sides}) > 1]
        old, new = (self._values(changed, number) for number in sides)
        reply = pb.DiffVersionsResponse()
        for key in sorted(old.keys() | new.keys()):
            one, other = old.get(key), new.get(key)
            if one is None or other is None or load(one) != load(other):
                difference = reply.differences.add(key=key, to=other)
                if one is not None:
                    getattr(difference, "from").CopyFrom(one)  # a keyword in Python
        return reply

    def _values(self, keys: Iterable[str], number: int) -> Mapping[str, pb.Value]:
        origins = ((self._past.origin(key, number), key) for key in keys)
        found = self._past.changes((origin, key) for origin, key in origins if origin)
        return {change.key: change.value for _, change in found}

    def _get_key_history(self, request: pb.GetKeyHistoryRequest) -> pb.KeyHistory:
        numbers = self._past.changed(request.key)
        if request.newest_first:
            numbers = numbers[::-1]
        begin = int(request.page_token or 0)
        end = begin + (request.page_size or PAGE_ITEMS)
        found = self._past.changes((number, request.key) for number in numbers[begin:end])
        changes = [_key_change(header, change) for header, change in found]
        reply = pb.KeyHistory(config=request.config, key=request.key, changes=changes)
        if request.newest_first:
            reply.changes.sort(key=lambda change: -change.version)
        reply.next_page_token = str(end) if end < len(numbers) else ""
        return reply

    def _checked(self, request: Any, name: str) -> int:
        """Return the version that a request names, or the head."""
        number: int = getattr(request, name) if request.HasField(name) else self._past.head
        if number > self._past.head:
            text = f"{self._past.config!r} has no version {number}; its head is {self._past.head}"
            raise NotFoundError(text, reason="VERSION_NOT_FOUND")
        return number


def _key_change(header: pb.ConfigVersion, change: pb.Change) -> pb.KeyChange:
    made = pb.KeyChange(
        key=change.key,
        version=header.version,
        author=header.author,
        message=header.message,
        commit_time=header.commit_time,
    )
    if change.deleted:
        made.deleted = True
    else:
        made.value.CopyFrom(change.value)
    return made
