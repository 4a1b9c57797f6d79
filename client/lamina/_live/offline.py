"""A live without a server: it begins from a file or a default; while a server answers, it writes the file.

Worked example: a live shows version 7 and writes it. The servers stop, and this process ends. The next process is
refused twice, or waits for its `timeout` if nothing even refuses it. Then it finds 7 in the file, and shows it,
OFFLINE. When a server is back, with version 9, the stream continues after 7.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from lamina._flows import reads
from lamina._flows.effects import Flow
from lamina._flows.session import Session
from lamina._live.cache import Cache
from lamina._live.tracking import HeadTracker
from lamina._mapping.entries import Entries
from lamina._mapping.values import Value, check_key, check_text, dump, encode
from lamina._runtime.log import log
from lamina._wire.causes import PROXY
from lamina.errors import LaminaError, NotFoundError, UnavailableError
from lamina.records import Version, unwritten
from lamina_protos.v1 import lamina_pb2 as pb

CONFIRMED_SECONDS: Final = 10.0
"""How often, at most, the file of a version that stays the head is confirmed."""

RESTING: Final = 10
"""After a write, the pause is this many times as long as the write: a config that always changes costs a tenth of a
core, or of a disk, at most."""


def entries_of_default(config: str, default: Mapping[str, Value]) -> Entries:
    """Return version 0 with these values; TypeError or InvalidError for a value that no commit could hold."""
    if not isinstance(default, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - for who has no checker
        raise TypeError(f"default= is a mapping of keys to values, not {type(default).__name__}")
    values = {check_key(key): encode(value, key=key) for key, value in default.items()}
    entries = {key: pb.Entry(key=key, value=dump(values[key])) for key in sorted(values)}
    return Entries(replace(unwritten(config), key_count=len(entries)), entries)


def read_head(session: Session, cache: Cache, config: str, default: Entries | None) -> Flow[Entries]:
    """Read the head for a live. If there is a file or a default, it does not wait for servers that refuse."""
    has_other = default is not None or cache.has(check_text(config, "a config's name"))
    return reads.open_config(session, config, create=False, is_impatient=has_other)


def start_offline(
    session: Session, cache: Cache, config: str, default: Entries | None, error: LaminaError
) -> HeadTracker:
    """Begin from the file or the default, as no server answers or has the config; without either, raise the error."""
    is_unreached = isinstance(error, UnavailableError) or error.reason == PROXY
    if not is_unreached and not isinstance(error, NotFoundError):
        raise error
    kept = cache.load(config) if is_unreached else None
    if kept is not None:
        age, number = max(time.time() - kept.known_at, 0.0), kept.entries.header.number
        log.warning(
            "%s: from its last-known-good file, version %d, the head %.0f s ago: %s", config, number, age, error
        )
        return HeadTracker(session, kept.entries, known_at=session.clock() - age, is_offline=True)
    if default is None:
        raise error
    log.warning("%s: from the default: %s", config, error)
    return HeadTracker(session, default, known_at=-math.inf, is_offline=True)


class CacheWriter:
    """Keeps one config's last-known-good file. For one thread or task at a time."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._header: Version | None = None
        self._known_at = -math.inf
        self._complaint = ""

    @property
    def is_on(self) -> bool:
        """Whether there is a folder to keep files in."""
        return self._cache.is_on

    def is_due(self, tracker: HeadTracker) -> bool:
        """Return whether a write is due: for another version, or to confirm that the same one is still the head."""
        if tracker.is_offline or tracker.failure is not None:
            return False
        return tracker.entries.header != self._header or tracker.known_at - self._known_at >= CONFIRMED_SECONDS

    def keep(self, tracker: HeadTracker) -> float:
        """Write the file; return how many seconds to rest. A failure is logged; the next version is tried again."""
        began = time.monotonic()
        # Read before the entries, which another thread may swap: the written version was the head then or later.
        self._known_at, known_at = tracker.known_at, time.time() - tracker.age
        entries = tracker.entries
        self._header = entries.header
        try:
            self._cache.keep(entries, known_at)
        except Exception as error:  # noqa: BLE001 - no error may stop the live
            if (complaint := f"{type(error).__name__}: {error}") != self._complaint:  # log it once
                config = entries.header.config
                log.warning("%s: its last-known-good file cannot be written: %s", config, complaint)
                self._complaint = complaint
        else:
            self._complaint = ""
        return RESTING * (time.monotonic() - began)
