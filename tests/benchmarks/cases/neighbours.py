"""What others notice of many commits, and of one giant one."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from lamina_protos.v1 import lamina_pb2 as pb
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure
from tests.benchmarks.measuring import Samples
from tests.benchmarks.storm import Storm

CONFIG, GIANT = "bench/neighbour", "bench/giant"
KEYS = 1_000
SLICES = 10
SETTLING_SECONDS = 0.2
GIANT_SECONDS = 120.0
SECONDS = "s"


def reads_beside_commits(bench: Bench) -> Figure:
    """Read ten keys, while nobody else calls and while 64 callers commit, in turn."""
    quiet, busy = Samples("nobody else calls"), Samples(f"{bench.scale.callers} callers commit")
    with bench.server() as server, ours.stub_of(server.target) as stub:
        bases = [ours.load(stub, config, ours.a_map(KEYS)) for config in (CONFIG, CONFIG + "/storm")]
        request = pb.GetVersionRequest(config=CONFIG, keys=[ours.key(number) for number in range(10)])
        read = partial(stub.GetVersion, request)
        each = max(bench.scale.rounds // SLICES, 1)
        with Storm(server.target, CONFIG + "/storm", base=bases[1], callers=bench.scale.callers) as storm:
            for _ in range(SLICES):
                time.sleep(SETTLING_SECONDS)  # until what was on its way is done
                _repeat(quiet, read, each)
                with storm.raging():
                    time.sleep(SETTLING_SECONDS)
                    _repeat(busy, read, each)
    what = f"p99 of reads beside {bench.scale.callers} committing callers vs without"
    return Figure(
        "K8",
        "reading ten keys beside many commits",
        [quiet, busy],
        checks=[Check(what, busy.worst / quiet.worst, must=3.0, aim=2.0)],
        remark="Those who commit are another process, on the same cores as the server and the reader.",
        reference=quiet,
    )


def commits_beside_giants(bench: Bench) -> Figure:
    """Commit one change again and again, while somebody forks and reverts a config of 100,000 keys."""
    samples: list[Samples] = []
    checks: list[Check] = []
    urls = {"SQLite": None, "PostgreSQL": bench.postgres.new_database() if bench.postgres else None}
    limits = {"SQLite": (0.5, 0.1), "PostgreSQL": (0.5, 0.2)}
    for database, url in urls.items():
        if database == "PostgreSQL" and url is None:
            continue
        found = _beside_giants(bench, url)
        samples += [Samples(f"{database}: {each.name}", each.unit, each.values) for each in found]
        slowest = max(max(each.values) for each in found) / 1_000
        must, aim = limits[database]
        what = (
            f"{database}: slowest commit of others beside a fork and a revert of {bench.scale.largest_keys[0]:,} keys"
        )
        checks.append(Check(what, slowest, must=must, aim=aim, unit=SECONDS))
    return Figure(
        "K9",
        "commits of one change beside a giant",
        samples,
        checks=checks,
        remark="The second figure is the slowest, not the 99th percentile, where there are fewer than a hundred.",
    )


def _beside_giants(bench: Bench, url: str | None) -> Sequence[Samples]:
    keys = bench.scale.largest_keys[0]
    with bench.server(url) as server, ours.stub_of(server.target) as stub, ours.stub_of(server.target) as other:
        first = ours.load(stub, GIANT, ours.a_map(keys))
        changed = {ours.key(number): ours.new_text() for number in range(keys)}
        head = ours.load(stub, GIANT, changed, base=first)
        writer = ours.Writer(CONFIG, ours.keys_all_over(KEYS), base=ours.load(stub, CONFIG, ours.a_map(KEYS)))
        commit = writer.through(other)
        fork = pb.ForkConfigRequest(source=GIANT, target=GIANT + "/fork", request_id=uuid.uuid4().hex)
        revert = pb.RevertConfigRequest(config=GIANT, to_version=first, base_version=head, request_id=uuid.uuid4().hex)
        giants: dict[str, Callable[[], object]] = {
            "beside a fork": partial(stub.ForkConfig, fork, timeout=GIANT_SECONDS),
            "beside a revert": partial(stub.RevertConfig, revert, timeout=GIANT_SECONDS),
        }
        found = []
        for name, giant in giants.items():
            samples = Samples(name)
            with _meanwhile(giant) as goes_on:
                while goes_on():
                    samples.time(commit)
            found.append(samples)
        return found


@contextmanager
def _meanwhile(call: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Run a call on a thread; give what tells whether it goes on. Raises at the end what it has raised."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield thread.is_alive
    thread.join()
    if errors:
        raise errors[0]


def _repeat(samples: Samples, call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        samples.time(call)
