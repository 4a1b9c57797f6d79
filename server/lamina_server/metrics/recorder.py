"""What is counted when it happens: calls, commits, batches, statements, keyframes. Knows plain numbers alone.

A call makes one record, a commit a second one, and a batch two. Without metrics nothing is recorded. Labels have few
values: never a key, a config's name, a principal or an address, of which there is no end, and which are nobody's
business.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Final

from lamina_server.metrics.numbers import Buckets, Distributions, Histogram, Labels, Metric, by, histogram, one

SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Buckets of times. A read takes 0.4 ms, a commit 1 ms; a database is given up after 5 s."""
COMMANDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
"""Buckets of batches."""

STREAMS: Final = frozenset({"WatchKeyHistory", "ServerReflectionInfo"})
"""Methods whose calls last as long as the client wants: they are counted, and not timed."""

UNKNOWN_METHOD: Final = "unknown"
"""The label of calls of methods that are not there: whoever calls chooses the name."""


class Recorder:
    """Counts what the server does."""

    counts: ClassVar[bool] = True

    def __init__(self) -> None:
        self._calls = Distributions(SECONDS)
        self._errors: Counter[str] = Counter()
        self._commits: Counter[str] = Counter()
        self._near_limit = 0
        self._batches = Distributions(COMMANDS)
        self._transactions = Distributions(SECONDS)
        self._operations = Distributions(SECONDS)
        self._keyframes = Distributions(SECONDS)
        self._lags = Distributions(SECONDS)
        # From the first scrape on, so that the first batch or keyframe is an increase.
        self._batches[()], self._transactions[()], self._lags[()]
        self._keyframes[("written",)], self._keyframes[("failed",)]

    def expect(self, *, methods: Iterable[str], reasons: Iterable[str], outcomes: Iterable[str]) -> None:
        """Begin to count these at 0: Prometheus sees no increase in a counter that appears with its first event."""
        for method in methods:
            self._calls[method, "OK"]
        self._errors.update(dict.fromkeys(reasons, 0))
        self._commits.update(dict.fromkeys(outcomes, 0))

    # --- on the event loop ------------------------------------------------------------------

    def call(self, method: str, code: str, seconds: float) -> None:
        """Record the end of a call, with the name of its status code."""
        self._calls[method, code].add(seconds)

    def error(self, reason: str) -> None:
        """Record why a call got an error, or why a config was hidden from its caller."""
        self._errors[reason] += 1

    def commit(self, outcome: str) -> None:
        """Record what became of a command that writes."""
        self._commits[outcome] += 1

    def near_limit(self) -> None:
        """Record a new version whose config comes near a limit."""
        self._near_limit += 1

    def batch(self, commands: int, seconds: float) -> None:
        """Record a transaction of the writer: how many commands it held, and how long they waited for its end."""
        self._batches[()].add(commands)
        self._transactions[()].add(seconds)

    def lag(self, seconds: float) -> None:
        """Record how late the event loop was."""
        self._lags[()].add(seconds)

    # --- on any thread ----------------------------------------------------------------------

    def operation(self, name: str) -> Callable[[float], None]:
        """Return what records how many seconds the database took for an operation."""
        return self._operations[(name,)].add

    def keyframe(self, outcome: str, seconds: float) -> None:
        """Record a keyframe that was due."""
        self._keyframes[(outcome,)].add(seconds)

    # --- at a scrape ------------------------------------------------------------------------

    def read(self) -> Iterator[Metric | Histogram]:
        """Yield all that was recorded."""
        yield from self._read_calls()
        yield by("reason", "lamina_errors_total", ERRORS, dict(self._errors))
        yield by("outcome", "lamina_commits_total", COMMITS, dict(self._commits))
        yield one("lamina_near_limit_versions_total", NEAR_LIMIT, self._near_limit)
        yield histogram("lamina_batch_commands", BATCHES, (), self._batches)
        yield histogram("lamina_batch_duration_seconds", TRANSACTIONS, (), self._transactions)
        yield histogram("lamina_database_operation_duration_seconds", OPERATIONS, ("operation",), self._operations)
        yield from self._read_keyframes()
        yield histogram("lamina_event_loop_lag_seconds", LAGS, (), self._lags)

    def _read_calls(self) -> Iterator[Metric | Histogram]:
        calls: dict[Labels, float] = {}
        timed: dict[Labels, Buckets] = {}
        for (method, code), counts, seconds in self._calls.read():
            calls[method, code] = sum(counts)
            if method not in STREAMS:
                before, sum_ = timed.get((method,), ([0] * len(counts), 0.0))
                timed[(method,)] = [sum(pair) for pair in zip(before, counts, strict=True)], sum_ + seconds
        yield Metric("lamina_calls_total", CALLS, ("method", "code"), calls)
        yield Histogram("lamina_call_duration_seconds", CALL_SECONDS, ("method",), SECONDS, timed)

    def _read_keyframes(self) -> Iterator[Metric | Histogram]:
        found = list(self._keyframes.read())
        yield Metric("lamina_keyframes_total", KEYFRAMES, ("outcome",), {key: sum(counts) for key, counts, _ in found})
        counts, seconds = self._keyframes[("written",)].read()
        yield Histogram("lamina_keyframe_duration_seconds", KEYFRAME_SECONDS, (), SECONDS, {(): (counts, seconds)})


class Unrecorded(Recorder):
    """Counts nothing: the server has no metrics."""

    counts = False

    def call(self, method: str, code: str, seconds: float) -> None:
        """Do nothing."""

    def error(self, reason: str) -> None:
        """Do nothing."""

    def commit(self, outcome: str) -> None:
        """Do nothing."""

    def batch(self, commands: int, seconds: float) -> None:
        """Do nothing."""

    def near_limit(self) -> None:
        """Do nothing."""

    def keyframe(self, outcome: str, seconds: float) -> None:
        """Do nothing."""


CALLS: Final = "Calls that have ended, by method and status code; a watch counts at its end."
CALL_SECONDS: Final = "Time from the beginning of a call to its answer, without streams."
ERRORS: Final = "Errors that callers got, by reason; what is hidden from a caller counts as NOT_ALLOWED, too."
COMMITS: Final = "Commits, reverts and forks that reached the writer, by what became of them."
NEAR_LIMIT: Final = "Versions that were made here of configs that come near a limit of their size."
BATCHES: Final = "Commands that were written in one transaction."
TRANSACTIONS: Final = "Time from the moment when a batch is handed to the writer until its outcome is known."
OPERATIONS: Final = "Time that the database took, by what it did."
KEYFRAMES: Final = "Keyframes that were due, by what became of them."
KEYFRAME_SECONDS: Final = "Time that a keyframe took, beside commits."
LAGS: Final = "How late the event loop was, four times a second."
