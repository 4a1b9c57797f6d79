"""How each room stands, as it is asked at a scrape. Knows the rooms, and the kinds of numbers.

It runs on the scrape's own thread, and only reads: single numbers, and copies of collections that Python makes at once.
"""

import platform
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from lamina_server.access.live import LiveAccess
from lamina_server.cache.heads import Heads
from lamina_server.commits.committer import Committer
from lamina_server.feed.feed import Feed
from lamina_server.feed.news import News
from lamina_server.metrics.numbers import Labels, Metric, by, one
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.readiness import Readiness
from lamina_server.rpc.replies import ReplyBudget
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.settings import Settings
from lamina_server.store.contract import Store

if TYPE_CHECKING:
    from lamina_server.rpc.tls import TlsFiles

STATES = ("replaying", "sending", "waiting")
"""The states of watches; see Watch.state."""


@dataclass(slots=True)
class Gauges:
    """Asks the rooms of one server.

    is_exposed  whether other machines reach it, and it is open to them
    tls         None: it has no certificate
    """

    settings: Settings
    store: Store
    committer: Committer
    heads: Heads
    feed: Feed
    news: News
    watches: WatchContext
    replies: ReplyBudget
    draining: Draining
    readiness: Readiness
    access: LiveAccess
    is_exposed: bool
    tls: "TlsFiles | None" = None

    def read(self) -> Iterator[Metric]:
        """Yield what each room has."""
        yield self._build()
        yield from self._server()
        yield from self._memory()
        yield from self._watches()
        yield from self._news()
        yield from self._database()

    def _build(self) -> Metric:
        from importlib.metadata import version  # noqa: PLC0415 - slow to import

        labels: Labels = ("version", "python", "grpc", "database")
        values = (version("lamina"), platform.python_version(), grpc.__version__, self.store.state().kind)
        return Metric("lamina_build_info", "Always 1. The labels tell what runs here.", labels, {values: 1})

    def _server(self) -> Iterator[Metric]:
        is_ready = not self.readiness.not_ready and not self.draining.begun
        yield one("lamina_ready", "1 if the server takes commits, else 0.", is_ready)
        yield one("lamina_stopping", "1 after the server was asked to stop.", self.draining.begun)
        text = "1 if everybody on the network may read and change everything, by --insecure-open."
        yield one("lamina_open_to_other_machines", text, self.is_exposed)
        yield one("lamina_calls_under_way", "Calls under way, watches among them.", self.draining.calls)
        yield one("lamina_commit_queue_commands", "Commands that wait for the writer.", self.committer.waiting)
        yield one("lamina_commits_under_way", "Commands in the writer's transaction.", self.committer.under_way)
        if self.tls is not None:
            text = "When the server's certificate ends that is in force, in seconds since 1970."
            yield one("lamina_certificate_expiry_timestamp_seconds", text, self.tls.ends.timestamp())

    def _memory(self) -> Iterator[Metric]:
        settings = self.settings
        held = {
            "heads": (self.heads.held_bytes, settings.heads_limit_bytes),
            "ring": (self.feed.held_bytes, settings.ring_limit_bytes),
            "replay": (self.watches.replays.held_bytes, settings.replay_limit_bytes),
            "watch_messages": (self.watches.in_flight.large_bytes, settings.flight_limit_bytes),
            "answers": (self.replies.size_bytes, settings.flight_limit_bytes),
        }
        text = "Memory that is held for something, by estimate: maps, recent versions, and messages on their way."
        yield by("kind", "lamina_memory_bytes", text, {kind: used for kind, (used, _) in held.items()})
        text = "How much may be held, from the settings."
        yield by("kind", "lamina_memory_limit_bytes", text, {kind: limit for kind, (_, limit) in held.items()})
        yield one("lamina_heads_maps", "Maps in memory, of heads and of older versions.", self.heads.held_maps)
        yield one("lamina_ring_versions", "Recent versions in memory for watches.", self.feed.held_versions)

    def _watches(self) -> Iterator[Metric]:
        states, lag, largest = Counter(dict.fromkeys(STATES, 0)), 0, 0
        for watch in list(self.watches.under_way):
            behind = watch.lag_versions
            states[watch.state] += 1
            lag, largest = lag + behind, max(largest, behind)
        text = "Watches: they replay older versions, send a new one, or have everything and wait."
        yield by("state", "lamina_watches", text, states)
        yield one(
            "lamina_watches_limit", "How many watches there may be, from the settings.", self.settings.watch_limit
        )
        yield one("lamina_watch_lag_versions", "Versions that watches have yet to look at, all together.", lag)
        text = "Versions that the watch which is furthest behind has yet to look at."
        yield one("lamina_watch_lag_max_versions", text, largest)

    def _news(self) -> Iterator[Metric]:
        news = self.news
        yield one("lamina_notices_sent_total", "Configs of whose commits other servers were told.", news.told)
        yield one("lamina_notices_heard_total", "Notices of other servers' commits.", news.heard)
        text = "Questions about other servers' commits, after a notice or by the clock, by whether they were answered."
        yield by("outcome", "lamina_polls_total", text, {"answered": news.questions, "failed": news.failed_questions})

    def _database(self) -> Iterator[Metric]:
        state = self.store.state()
        used = {pool: used for pool, (used, _) in state.connections.items()}
        limits = {pool: limit for pool, (_, limit) in state.connections.items()}
        yield by("pool", "lamina_database_connections", "Connections in use, by pool.", used)
        yield by("pool", "lamina_database_connections_limit", "Connections that there may be, by pool.", limits)
        age = max(time.monotonic() - self.committer.committed_at, 0.0)
        if age != float("inf"):
            yield one("lamina_last_commit_age_seconds", "Time since the last version was made here.", age)
        if state.files is not None:
            files = state.files
            yield one("lamina_database_file_bytes", "Size of the SQLite file.", files.data_bytes)
            yield one("lamina_database_wal_bytes", "Size of SQLite's write-ahead log.", files.log_bytes)
            yield one("lamina_database_disk_bytes", "Size of the disk with the SQLite file.", files.disk_bytes)
            text = "Room on the disk with the SQLite file, for this account."
            yield one("lamina_database_disk_free_bytes", text, files.disk_free_bytes)
