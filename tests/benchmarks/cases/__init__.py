"""The cases: one function for each figure, by its number in the table of figures, or by a word if it has no goal."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.benchmarks.bench import Bench
from tests.benchmarks.cases import (
    access,
    choices,
    commits,
    crowds,
    neighbours,
    operation,
    rates,
    reads,
    replays,
    sdk,
    servers,
    sizes,
    starts,
    watches,
)
from tests.benchmarks.figures import Figure

Case: TypeAlias = Callable[[Bench], Figure]

CASES: Mapping[str, Case] = {
    "1": commits.by_size_of_map,
    "2": sizes.growth,
    "3": commits.of_ten_changes,
    "4": rates.against_etcd,
    "5": reads.whole_maps,
    "6": reads.long_history,
    "7": starts.long_past,
    "8": rates.on_postgresql,
    "9": reads.one_small_read,
    "10": sizes.memory,
    "W1": watches.one_watcher,
    "W2": watches.many_watchers,
    "W3": crowds.idle,
    "W4": crowds.of_other_keys,
    "W5": replays.to_one_watcher,
    "W6": servers.from_one_to_another,
    "W7": crowds.coming_back,
    "S1": sdk.local_reads,
    "S2": sdk.imports,
    "S3": sdk.opening,
    "S4": sdk.largest,
    "S5": sdk.without_server,
    "A1": access.small_read_with_token,
    "A2": access.small_read_with_jwt,
    "A3": access.decision,
    "A4": access.revocation,
    "A5": access.secrets_after_a_commit,
    "K1": choices.one_caller,
    "K3": choices.many_callers,
    "K6": choices.until_called,
    "K8": neighbours.reads_beside_commits,
    "K9": neighbours.commits_beside_giants,
    "O1": operation.empty_start,
    "O2": operation.with_metrics,
    "O3": operation.two_workers,
    "recipe": sizes.against_full_copies,
    "watch": watches.until_seen,
}
