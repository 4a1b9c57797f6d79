"""A database with a long history, made once and kept. The store writes it, many versions in a transaction.

It has one config with the wanted number of keys, all set by version 1. Later versions change
one key each: every tenth changes OFTEN, ten of them RARELY, the others any key. There are as
many keyframes as a server would write; the round versions are half-way between two of them.
"""

import hashlib
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from lamina_server.domain import hashing
from lamina_server.domain.planning import Author, MapLimits, plan
from lamina_server.domain.records import Change, Version
from lamina_server.domain.values import Value
from lamina_server.models import tables, triggers
from lamina_server.store.contract import Store, Writing
from lamina_server.store.open import open_store
from tests.benchmarks import ours

CONFIG = "bench/past"
OFTEN, RARELY = ours.key(0), ours.key(1)
OFTEN_EVERY = 10
RARE_CHANGES = 10
AT_ONCE = 1_000
"""Versions in one transaction; also the versions between two keyframes of a map with as many keys."""

_AUTHOR = Author("bench")
_NO_LIMITS = MapLimits(keys=1_000_000, size_bytes=1 << 40)


def database(folder: Path, *, versions: int, keys: int) -> Path:
    """Return the SQLite file; make it if there is none, or only one of an older form."""
    path = folder / f"past-{versions}-{keys}-{_form()}.db"
    if not path.exists():
        for old in folder.glob(f"past-{versions}-{keys}-*"):
            old.unlink()
        unfinished = path.with_suffix(".unfinished")
        _make(unfinished, versions=versions, keys=keys)
        unfinished.rename(path)
    return path


def _form() -> str:
    """Return a name of the data's form: each change of the tables, the hashes or this module makes another one."""
    sources = (tables.__file__, triggers.__file__, hashing.__file__, __file__)
    return hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()[:12]


def _make(path: Path, *, versions: int, keys: int) -> None:
    store = open_store(f"sqlite:///{path}")
    try:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(f"making {versions:,} versions, once", total=versions)
            writer = _Writer(versions=versions, keys=keys)
            while written := writer.write_some(store):
                progress.advance(task, written)
    finally:
        store.close()


class _Writer:
    """Makes versions one after another, and remembers what planning the next one needs."""

    def __init__(self, *, versions: int, keys: int) -> None:
        self._plans = iter(range(1, versions + 1))
        self._all_over = ours.keys_all_over(keys)
        self._rare_every = versions // (RARE_CHANGES - 1)
        self._keys = keys
        self._head: Version | None = None
        self._values: dict[str, Value] = {}
        self._since_keyframe = 0

    def write_some(self, store: Store) -> int:
        """Write the next transaction, and a keyframe where one is due; return how many versions it wrote."""
        at_once = AT_ONCE if self._head else AT_ONCE // 2
        with store.write() as writing:
            written = sum(1 for number in islice(self._plans, at_once) if self._insert(writing, number))
        if self._since_keyframe >= max(self._keys, 256):
            store.write_keyframe(CONFIG)
            self._since_keyframe = 0
        return written

    def _insert(self, writing: Writing, number: int) -> bool:
        planned = plan(
            list(self._changes(number)),
            config=CONFIG,
            head=self._head,
            values=self._values,
            author=_AUTHOR,
            message="bench",
            now_us=time.time_ns() // 1_000,
            limits=_NO_LIMITS,
        )
        writing.insert(planned)
        self._head = planned.version
        self._values |= {each.key: each.value for each in planned.values if each.value is not None}
        self._since_keyframe += len(planned.values)
        return True

    def _changes(self, number: int) -> Iterator[Change]:
        if number == 1:
            yield from (Change(name, Value.of_string(data)) for name, data in ours.a_map(self._keys).items())
        else:
            yield Change(self._key(number), Value.of_string(ours.text(number)))

    def _key(self, number: int) -> str:
        if number % self._rare_every == 1:
            return RARELY
        if number % OFTEN_EVERY == 0:
            return OFTEN
        return next(name for name in self._all_over if name not in {OFTEN, RARELY})
