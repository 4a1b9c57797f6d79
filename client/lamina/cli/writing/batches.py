"""An import that is too large for one version, as several versions. It knows nothing of files.

The changes are written in key order, in batches that a server takes by default. A batch that a server refuses is
halved. Each batch is a commit of its own. If an import is cut short, the same import again writes what is left: an
equal value is no change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import lamina
from lamina.cli.output.differences import differ
from lamina.cli.output.progress import working
from lamina.cli.output.secrets import opened
from lamina.cli.output.text import write_json
from lamina.cli.writing.writer import Write, outcome_told, print_plan, print_unchanged, print_written, until_written

_BATCH_CHANGES: Final = 10_000
"""The server's default for one request."""
_BATCH_BYTES: Final = 3 * 2**20
"""Less than the server's 4 MiB, because the size of a change is only estimated here."""
_CHANGE_BYTES: Final = 32
"""Bytes of a change beside its key and value: tags and lengths."""
Stage = Callable[[lamina.Config, lamina.Snapshot], None]
Changes = dict[str, lamina.Change]


def write_in_batches(write: Write, client: lamina.Client, config: str, stage: Stage) -> None:
    """Write all changes that `stage` makes to the head, in as many versions as needed; print the outcome."""
    cfg = write.open(client, config)
    stage(cfg, cfg.at(cfg.version))
    changes = cfg.changes
    write.demand_base(cfg, changes)
    cfg.discard()
    if write.dry_run:
        print_plan(write, changes)
        return
    if not changes:
        print_unchanged(write, cfg)
        return
    before = cfg.version
    with working(f"importing into {config}", len(changes), "keys") as advance:
        versions = [version for batch in _batches(changes) for version in _commit(write, cfg, batch, advance)]
    if versions[-1].number == before:  # secrets that are what they were: only the server sees that
        print_unchanged(write, cfg)
        return
    print_written(write, versions[-1], changes, before=before)


def size_of(entries: Mapping[str, Any]) -> int:
    """Return the estimated size of a request that sets these entries, in bytes."""
    return sum(_size(key, value) for key, value in entries.items())


def _batches(changes: Changes) -> Iterator[Changes]:
    """Cut changes into batches by number and size."""
    batch: Changes = {}
    size = 0
    for key, change in changes.items():
        needed = _size(key, change.new)
        if batch and (len(batch) >= _BATCH_CHANGES or size + needed > _BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = change
        size += needed
    if batch:
        yield batch


def _commit(
    write: Write, cfg: lamina.Config, batch: Changes, advance: Callable[[int], None]
) -> Iterator[lamina.Version]:
    """Commit one batch; if the server refuses it as too large, commit its halves."""
    try:
        version = _committed(write, cfg, batch)
    except lamina.LimitError:
        if len(batch) == 1:
            raise
        for half in _halves(list(batch)):
            yield from _commit(write, cfg, {key: batch[key] for key in half}, advance)
        return
    advance(len(batch))
    yield version


def _committed(write: Write, cfg: lamina.Config, batch: Changes) -> lamina.Version:
    found: list[lamina.Version] = []

    def attempt() -> None:
        cfg.discard()
        cfg.refresh()
        _stage(cfg, batch)
        write.demand_base(cfg, batch)
        with outcome_told(write.ctx, cfg.name):
            found.append(cfg.commit(write.message))

    until_written(write.ctx, attempt)
    return found[-1]


def _stage(cfg: lamina.Config, batch: Changes) -> None:
    head = cfg.at(cfg.version)
    for key, change in batch.items():
        if change.new is lamina.MISSING:
            if key in head:
                del cfg[key]
        elif differ(head.get(key, lamina.MISSING), change.new):
            cfg[key] = change.new


def _halves(keys: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(keys) // 2
    return keys[:middle], keys[middle:]


def _size(key: str, value: Any) -> int:
    value = opened(value)
    data = 0 if value is lamina.MISSING else len(value) if isinstance(value, bytes) else len(write_json(value).encode())
    return _CHANGE_BYTES + len(key.encode()) + data
