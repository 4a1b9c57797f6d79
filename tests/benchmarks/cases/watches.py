"""From a commit to the watcher who waits for it, through the SDK."""

import lamina
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure


def until_seen(bench: Bench) -> Figure:
    """Commit, and wait for the commit to arrive at a watch."""
    with bench.server() as server, lamina.connect(server.target) as client:
        config = client.config("bench/watched", create=True)
        with config.watch(after=0) as watch:
            seen = watch.versions()

            def call() -> None:
                config["x"] = ours.new_text()
                version = config.commit("bench")
                assert next(seen).version == version.number

            samples = bench.in_turn({"commit until seen by a watch": call})
    return Figure("watch", "commit until seen by a watch, through the SDK", list(samples.values()))
