"""Passes the versions that a request sees on to other services, in gRPC metadata or a baggage header. Pure: no I/O.

On the caller's side, and on the server's side:

    stub.Pay(request, metadata=carry.to_metadata(live))

    carried = carry.from_metadata(context.invocation_metadata())      # {"payments/prod": 17}
    with live.pin(live.carried(carried)): ...                          # aio: live.pin(await live.carried(carried))

Another program wrote the incoming text, so nothing here raises: text without a config and a version is ignored, and so
is a config with two versions. But a caller may name any version that ever existed: accept this only from services that
you trust, and drop it where requests arrive from outside.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from lamina._provenance import baggage
from lamina._provenance.log_filter import Versioned, read, versions_of, written

METADATA_KEY: Final = "lamina-versions"
"""The key in gRPC metadata; its value is `payments/prod@17`, several with commas between."""
BAGGAGE_KEY: Final = "lamina"
"""The key of the baggage member, which has the same text as its value."""

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""Metadata as in both of gRPC's APIs, on either side."""


def to_metadata(*lives: Versioned, carried: Mapping[str, int] | None = None) -> tuple[tuple[str, str], ...]:
    """Make the metadata that names the versions shown here and now; add it to the call's own.

    `carried` has the versions of the incoming request: they are passed on, except those of configs that are named here.
    """
    versions = {**(carried or {}), **versions_of(lives)}
    text = written(_sendable(versions))
    return ((METADATA_KEY, text),) if text and len(text) <= baggage.BYTES_LIMIT else ()


def from_metadata(metadata: Metadata | None) -> dict[str, int]:
    """Read from a call's metadata which version it sees of which config."""
    return _read(",".join(_text(value) for key, value in metadata or () if key.lower() == METADATA_KEY))


def to_baggage(header: str | bytes | None, *lives: Versioned) -> str:
    """Make a baggage header that names the versions shown here and now, from the one that came in, if any.

    Its other members are passed on, and so are the versions of other configs. If the 64 members and 8192 bytes of the
    standard are used up, the header stays as it was.
    """
    members = baggage.parse(_text(header))
    others = [each for each in members if each.key != BAGGAGE_KEY]
    versions = _sendable({**_versions_in(members), **versions_of(lives)})
    ours = [*others, baggage.member(BAGGAGE_KEY, written(versions))]
    return baggage.build(ours if versions and baggage.fits(ours) else others)


def from_baggage(header: str | bytes | None) -> dict[str, int]:
    """Read from a baggage header which version the request sees of which config; {} if there are none."""
    text = _text(header)
    return _versions_in(baggage.parse(text)) if len(text) <= baggage.BYTES_LIMIT else {}


def _versions_in(members: list[baggage.Member]) -> dict[str, int]:
    return _read(",".join(each.value for each in members[: baggage.MEMBERS_LIMIT] if each.key == BAGGAGE_KEY))


def _read(text: str) -> dict[str, int]:
    return read(text) if len(text) <= baggage.BYTES_LIMIT else {}


def _sendable(versions: Mapping[str, int]) -> dict[str, int]:
    """Leave out configs at version 0: nothing was committed or read yet."""
    return {config: version for config, version in versions.items() if version > 0}


def _text(value: str | bytes | None) -> str:
    """Return a header as text. Headers are octets, and Latin-1 has a character for each."""
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""
