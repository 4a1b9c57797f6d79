"""One caller's commits: how they depend on the size of the map, and what ten changes cost."""

from contextlib import ExitStack

import lamina
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import floor, ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, ratio
from tests.benchmarks.measuring import Call

WIDTH = 10
KEYS = 1_000


def by_size_of_map(bench: Bench) -> Figure:
    """Commit one change to maps of several sizes, by bare stubs and through the SDK."""
    smallest, *between, largest = bench.scale.map_sizes
    with bench.server() as server, ours.stub_of(server.target) as stub, lamina.connect(server.target) as client:
        sides: dict[str, Call] = {}
        for size in (smallest, *between, largest):
            head = ours.load(stub, f"bench/{size}", ours.a_map(size))
            writer = ours.Writer(f"bench/{size}", ours.keys_all_over(size), base=head)
            sides[_stubs(size)] = writer.through(stub)
        for size in (smallest, largest):
            ours.load(stub, f"bench/sdk/{size}", ours.a_map(size))
            sides[_sdk(size)] = _through_sdk(client.config(f"bench/sdk/{size}"), size)
        samples = bench.in_turn(sides)
    what = f"commit of 1 change: {largest:,} keys vs {smallest:,}"
    return Figure(
        "1",
        "commit of 1 change, one caller, by the size of the map",
        list(samples.values()),
        checks=[
            ratio(f"{what}, p50", samples[_stubs(largest)], samples[_stubs(smallest)], must=1.25, aim=1.05),
            ratio(
                f"{what}, p50, through the SDK", samples[_sdk(largest)], samples[_sdk(smallest)], must=1.25, aim=1.05
            ),
        ],
        reference=samples[_stubs(smallest)],
    )


def of_ten_changes(bench: Bench) -> Figure:
    """Commit ten changes, and let etcd put ten keys in one transaction."""
    with bench.server() as server, ExitStack() as stack:
        stub = stack.enter_context(ours.stub_of(server.target))
        wide, narrow = (_writer(stub, config, width) for config, width in (("bench/ten", WIDTH), ("bench/one", 1)))
        sides = {
            f"Lamina: commit of {WIDTH} changes": wide.through(stub),
            "Lamina: commit of 1 change": narrow.through(stub),
            "floor: empty handler": floor.empty(bench.floor_channel, wide.request()),
            "floor: one row inserted and synced": bench.synced_insert,
        }
        if bench.etcd_stub:
            etcd, kv = bench.etcd_stub
            etcd.load(kv, "c/", ours.a_map(KEYS))
            sides[f"etcd: Txn of {WIDTH} puts"] = etcd.put_many(kv, "c/", ours.keys_all_over(KEYS), WIDTH)
            sides["etcd: Put"] = etcd.put_one(kv, "c/", ours.keys_all_over(KEYS))
        samples = bench.in_turn(sides)
    checks = []
    if theirs := samples.get(f"etcd: Txn of {WIDTH} puts"):
        mine = samples[f"Lamina: commit of {WIDTH} changes"]
        checks.append(ratio("commit of 10 changes vs etcd Txn of 10 puts, p50", mine, theirs, must=2.0, aim=1.5))
    return Figure(
        "3",
        "commit of 10 changes, one caller, against etcd",
        list(samples.values()),
        checks=checks,
        reference=samples["floor: empty handler"],
        remark=f"Both hold a map of {KEYS:,} keys, and values of 30 bytes.",
    )


def _stubs(size: int) -> str:
    return f"bare stubs, {size:,} keys"


def _sdk(size: int) -> str:
    return f"SDK, {size:,} keys"


def _writer(stub: ConfigServiceStub, config: str, width: int) -> ours.Writer:
    head = ours.load(stub, config, ours.a_map(KEYS))
    return ours.Writer(config, ours.keys_all_over(KEYS), base=head, width=width)


def _through_sdk(config: lamina.Config, size: int) -> Call:
    keys = ours.keys_all_over(size)

    def call() -> None:
        config[next(keys)] = ours.new_text()
        config.commit("bench")

    return call
