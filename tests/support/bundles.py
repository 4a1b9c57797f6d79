"""Bundles made without a server: intact ones, and ones with changed versions."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lamina._mapping.values import dump, encode, load
from lamina._wire.hashing import NO_PARENT, value_digest, version_hash
from lamina.records import MISSING
from lamina_protos import bundle
from lamina_protos.v1 import lamina_pb2 as pb

CONFIG = "shop/prod"
BEGINNING = 1_700_000_000


def history(commits: Iterable[Mapping[str, Any]], config: str = CONFIG) -> list[pb.VersionChanges]:
    """Make an intact chain of versions with these changes; MISSING deletes."""
    versions: list[pb.VersionChanges] = []
    live: set[str] = set()
    for number, content in enumerate(commits, start=1):
        live = (live | content.keys()) - {key for key in content if content[key] is MISSING}
        header = pb.ConfigVersion(
            config=config, version=number, parent=number - 1, author="ada", message=f"no. {number}"
        )
        header.commit_time.seconds = BEGINNING + number
        header.key_count, header.change_count = len(live), len(content)
        header.changed_keys.extend(sorted(content)[:100])
        versions.append(
            pb.VersionChanges(version=header, changes=[change(key, content[key]) for key in sorted(content)])
        )
    return hashed(versions)


def change(key: str, value: Any) -> pb.Change:
    return (
        pb.Change(key=key, deleted=True) if value is MISSING else pb.Change(key=key, value=dump(encode(value, key=key)))
    )


def hashed(versions: list[pb.VersionChanges]) -> list[pb.VersionChanges]:
    """Set each version's hash to the right one."""
    parent_hash = NO_PARENT
    for version in versions:
        header = version.version
        digests = [
            value_digest(header.config, header.version, each.key, MISSING if each.deleted else load(each.value))
            for each in version.changes
        ]
        header.hash = parent_hash = version_hash(header, parent_hash, digests)
    return versions


def packed(versions: Sequence[pb.VersionChanges], end: tuple[int, bytes] | None = None) -> bytes:
    """Make a bundle of versions, which may be damaged."""
    file = io.BytesIO()
    writer = bundle.Writer(file)
    for version in versions:
        writer.add(version)
    writer.finish(*(end or (versions[-1].version.version, versions[-1].version.hash)))
    return file.getvalue()


def blocks(data: bytes) -> list[bundle.Block]:
    return list(bundle.blocks(io.BytesIO(data)))


def _value(versions: list[pb.VersionChanges]) -> None:
    versions[1].changes[0].value.int64 = 29


def _author(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.author = "eve"


def _verified(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.author_verified = True


def _message(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.message += "!"


def _time(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.commit_time.nanos += 1_000


def _backwards(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.commit_time.seconds -= 60


def _hash(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.hash = bytes(32)


def _key_count(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.key_count += 1


def _change_gone(versions: list[pb.VersionChanges]) -> None:
    del versions[1].changes[0]


def _deleted(versions: list[pb.VersionChanges]) -> None:
    versions[1].changes[0].deleted = True


def _source(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.source_config = CONFIG


def _change_count(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.change_count += 1


def _changed_keys(versions: list[pb.VersionChanges]) -> None:
    """Change a field that no hash includes, because it follows from others."""
    versions[1].version.changed_keys[0] = "y"


def _parent(versions: list[pb.VersionChanges]) -> None:
    versions[1].version.parent = 0


TAMPERINGS: Mapping[str, Callable[[list[pb.VersionChanges]], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _value,
        _author,
        _verified,
        _message,
        _time,
        _backwards,
        _hash,
        _key_count,
        _change_gone,
        _deleted,
        _source,
        _change_count,
        _changed_keys,
        _parent,
    )
}
"""Changes to version 2 of a history that only its hash can reveal."""
