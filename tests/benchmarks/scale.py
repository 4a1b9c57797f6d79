"""The size of a run. A full one takes a quarter of an hour; a quick one shows in two minutes that everything works."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes and repetitions.

    rounds            calls of each side, one after another: enough for a 99th percentile
    few_rounds        the same, of what takes tens of milliseconds
    rate_rounds       slices of each side, in which `callers` callers call for `rate_seconds`
    map_sizes         keys, the smallest and the largest of which figure 1 compares
    read_sizes        keys of the maps that are read whole
    recipe_sizes      keys of the maps that are committed to, and copied in full
    growth_commits    commits over which a database's growth is measured
    past_versions     of the database with a long past, a tenth of which are of one key
    starts            of a server on that database
    held_configs      how many configs a server holds in memory
    streams           that hear of one event, and the connections that they go by
    events            how many they hear of
    replayed_versions of the database with a long past, to a watcher
    replays           each from a server that has just started
    crowd             watchers, and the connections that they go by
    idle_seconds      from one bookmark to the next, and how long it is looked on
    far_events        made on one server and heard of on another
    interpreters      started for each import
    largest_keys      of the largest config that is opened, and how often by a server that has just started
    """

    rounds: int = 1_000
    few_rounds: int = 200
    warm_up: int = 20
    callers: int = 64
    rate_rounds: int = 9
    rate_seconds: float = 0.7
    map_sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 50_000)
    read_sizes: tuple[int, ...] = (10, 100, 1_000, 10_000)
    recipe_sizes: tuple[int, ...] = (10, 100, 1_000, 10_000)
    growth_commits: int = 10_000
    past_versions: int = 1_000_000
    past_keys: int = 1_000
    starts: int = 7
    held_configs: int = 100
    streams: tuple[int, int] = (1_000, 10)
    events: int = 100
    replayed_versions: int = 100_000
    replays: int = 3
    crowd: tuple[int, int] = (10_000, 100)
    idle_seconds: tuple[int, int] = (30, 60)
    far_events: int = 200
    interpreters: int = 30
    largest_keys: tuple[int, int] = (100_000, 3)

    def with_rounds(self, rounds: int | None) -> "Scale":
        """Return the same scale with another number of rounds."""
        if rounds is None:
            return self
        few, events, far_events = (min(rounds, each) for each in (self.few_rounds, self.events, self.far_events))
        return replace(self, rounds=rounds, few_rounds=few, events=events, far_events=far_events)


FULL = Scale()
QUICK = Scale(
    rounds=20,
    few_rounds=5,
    warm_up=2,
    rate_rounds=2,
    rate_seconds=0.2,
    map_sizes=(10, 1_000),
    read_sizes=(10, 1_000, 10_000),
    recipe_sizes=(10, 100),
    growth_commits=500,
    past_versions=5_000,
    past_keys=100,
    starts=2,
    held_configs=5,
    streams=(100, 2),
    events=5,
    replayed_versions=1_000,
    replays=2,
    crowd=(60, 3),
    idle_seconds=(1, 3),
    far_events=5,
    interpreters=2,
    largest_keys=(20_000, 1),
)
