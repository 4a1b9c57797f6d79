"""Passes the versions that a request sees on to other services, in gRPC metadata or a baggage header. Pure: no I/O.

Here, for a call that goes out; there, for the one that came in:

    stub.Pay(request, metadata=carry.to_metadata(live))

    carried = carry.from_metadata(context.invocation_metadata())      # {"payments/prod": 17}
    with live.pin(live.carried(carried)): ...                          # aio: live.pin(await live.carried(carried))

What comes in was written by somebody else. Nothing here raises, whatever it holds: text that names no config and
version is ignored, and so is a config that is named with two versions. But a caller may name any version that ever
existed: accept this from services that you trust, and drop it where requests come in from outside.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from lamina._provenance import baggage
from lamina._provenance.log_filter import Versioned, read, versions_of, written

METADATA_KEY: Final = "lamina-versions"
"""In gRPC metadata: `payments/prod@17`, several with commas between."""
BAGGAGE_KEY: Final = "lamina"
"""The baggage member, with the same text for its value."""

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""As gRPC has it, on either side and in either of its APIs."""


def to_metadata(*lives: Versioned, carried: Mapping[str, int] | None = None) -> tuple[tuple[str, str], ...]:
    """Make the metadata that names the versions shown here and now; add it to the call's own.

    `carried` is what came in with the request: it is passed on, but for the configs that are followed here.
    """
    versions = {**(carried or {}), **versions_of(lives)}
    text = written(_sendable(versions))
    return ((METADATA_KEY, text),) if text and len(text) <= baggage.BYTES_LIMIT else ()


def from_metadata(metadata: Metadata | None) -> dict[str, int]:
    """Read from a call's metadata which version it sees of which config."""
    return _read(",".join(_text(value) for key, value in metadata or () if key.lower() == METADATA_KEY))


def to_baggage(header: str | bytes | None, *lives: Versioned) -> str:
    """Make a baggage header that names the versions shown here and now, from the one that came in, if any.

    Its other members are passed on, and so is what it says of other configs. If there is no room, within the 64 members
    and 8192 bytes that the standard grants, it is the others that stay.
    """
    members = baggage.parse(_text(header))
    others = [each for each in members if each.key != BAGGAGE_KEY]
    versions = _sendable({**_versions_in(members), **versions_of(lives)})
    ours = [*others, baggage.member(BAGGAGE_KEY, written(versions))]
    return baggage.build(ours if versions and baggage.fits(ours) else others)


def from_baggage(header: str | bytes | None) -> dict[str, int]:
    """Read from a baggage header which version the request sees of which config; {} if it says nothing of that."""
    text = _text(header)
    return _versions_in(baggage.parse(text)) if len(text) <= baggage.BYTES_LIMIT else {}


def _versions_in(members: list[baggage.Member]) -> dict[str, int]:
    return _read(",".join(each.value for each in members[: baggage.MEMBERS_LIMIT] if each.key == BAGGAGE_KEY))


def _read(text: str) -> dict[str, int]:
    return read(text) if len(text) <= baggage.BYTES_LIMIT else {}


def _sendable(versions: Mapping[str, int]) -> dict[str, int]:
    """Leave out what is at version 0: nothing was ever committed, or nothing was ever read."""
    return {config: version for config, version in versions.items() if version > 0}


def _text(value: str | bytes | None) -> str:
    """Take a header as any server's library gives it. Headers are octets: Latin-1 gives each of them a character."""
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""
