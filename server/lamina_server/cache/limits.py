"""The limits of what the cache reads and keeps, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is read at once, and how much is kept of one map.

    catch_up_versions  versions read together; with `catch_up_changes`, some tens of milliseconds
    catch_up_changes   changes read together; no writer may be held up for longer
    catch_up_bytes     keys and values read together: one reading holds them all in memory
    undo_versions      versions before the head that a map remembers: several times as many as
                       callers that commit to one config at once
    undo_bytes         the same in bytes, by estimate, because values may be large
    copied_keys        keys of the largest recent map that is copied from the head, in some
                       milliseconds on the event loop. A larger one is read through the head, anew
                       for each page: reading it from the store takes seconds, and a client that
                       reads page by page while others commit is always a few versions behind
    """

    catch_up_versions: int = 1_000
    catch_up_changes: int = 10_000
    catch_up_bytes: int = 8 * 1024 * 1024
    undo_versions: int = 512
    undo_bytes: int = 4 * 1024 * 1024
    copied_keys: int = 10_000


DEFAULT_LIMITS = CacheLimits()
