"""Reads by one caller: whole maps, a key's history, and the smallest read."""

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import floor, ours, past
from tests.benchmarks.bench import CACHE, Bench
from tests.benchmarks.figures import Figure, Lines, ratio
from tests.benchmarks.measuring import Call, Samples

LARGER = {1_000: (1.0, 0.7), 10_000: (0.4, 0.2)}
"""Size of a map: what reading it must be, and is to be, compared with etcd."""
CHANGES = 10


def whole_maps(bench: Bench) -> Figure:
    """Read maps of several sizes whole, by bare stubs and through the SDK, and the same keys from etcd."""
    sizes = bench.scale.read_sizes
    measured: dict[str, dict[int, Samples]] = {}
    with bench.server() as server, ours.stub_of(server.target) as stub, lamina.connect(server.target) as client:
        for size in sizes:
            config = f"bench/{size}"
            ours.load(stub, config, ours.a_map(size))
            sides: dict[str, Call] = {
                "Lamina": ours.read_map(stub, config, size),
                "Lamina, through the SDK": _as_dict(client, config),
            }
            if bench.etcd_stub:
                etcd, kv = bench.etcd_stub
                prefix = f"m{size}/"
                etcd.load(kv, prefix, ours.a_map(size))
                sides["etcd"] = etcd.read_map(kv, prefix, size)
            rounds = bench.scale.rounds if size < max(LARGER) else bench.scale.few_rounds
            for name, samples in bench.in_turn(sides, rounds=rounds).items():
                samples.name = f"{name}: {size:,} keys"
                measured.setdefault(name, {})[size] = samples
    checks = [
        ratio(f"whole map of {size:,} keys vs etcd Range, p50", measured["Lamina"][size], theirs, must=must, aim=aim)
        for size, (must, aim) in LARGER.items()
        if (theirs := measured.get("etcd", {}).get(size))
    ]
    lines = {name: [(size, each.median) for size, each in by_size.items()] for name, by_size in measured.items()}
    return Figure(
        "5",
        "reading a whole map, one caller",
        [measured[name][size] for size in sizes for name in measured],
        checks=checks,
        remark="Keys of 10 bytes (etcd's have a prefix of a few more), values of 30; replies parsed as messages.",
        plots=[Lines("reading", "Reading a whole map, one caller, median", "keys", "ms", lines)],
    )


def long_history(bench: Bench) -> Figure:
    """Read the newest changes of a key with a long history, and of one with a short one, in one config."""
    scale = bench.scale
    database = past.database(CACHE, versions=scale.past_versions, keys=scale.past_keys)
    often, rarely = scale.past_versions // past.OFTEN_EVERY + 1, past.RARE_CHANGES
    with bench.server(database) as server, ours.stub_of(server.target) as stub:
        sides = {f"{often:,} changes": _newest(stub, past.OFTEN), f"{rarely} changes": _newest(stub, past.RARELY)}
        samples = bench.in_turn(sides)
    what = f"newest {CHANGES} changes of a key with {often:,} vs one with {rarely}, p50"
    long, short = samples.values()
    return Figure(
        "6",
        f"newest {CHANGES} changes of a key",
        [long, short],
        checks=[ratio(what, long, short, must=1.5, aim=1.1)],
        reference=short,
        remark=(
            f"Both keys are of one config of {scale.past_keys:,} keys and {scale.past_versions:,} versions; the "
            "short history is spread over all of it."
        ),
    )


def one_small_read(bench: Bench) -> Figure:
    """Read a small map, and its header alone, and call the empty handler with the same request."""
    size, config = 10, "bench/small"
    with bench.server() as server, ours.stub_of(server.target) as stub:
        ours.load(stub, config, ours.a_map(size))
        whole, header = pb.GetVersionRequest(config=config), pb.GetVersionRequest(config=config, view=pb.HEADER)
        sides: dict[str, Call] = {
            "floor: empty handler": floor.empty(bench.floor_channel, whole),
            "floor: the same bytes each time": floor.constant(bench.floor_channel, whole, stub.GetVersion(whole)),
            f"Lamina: map of {size} keys": lambda: stub.GetVersion(whole),
            "Lamina: header": lambda: stub.GetVersion(header),
        }
        if bench.etcd_stub:
            etcd, kv = bench.etcd_stub
            etcd.load(kv, "s/", ours.a_map(size))
            sides["etcd: one key"] = etcd.get(kv, "s/" + ours.key(0))
        samples = bench.in_turn(sides)
    empty = samples["floor: empty handler"]
    return Figure(
        "9",
        "one small read, one caller",
        list(samples.values()),
        checks=[
            ratio(
                f"read of {size} keys vs the empty handler, p50",
                samples[f"Lamina: map of {size} keys"],
                empty,
                must=1.3,
                aim=1.1,
            ),
            ratio("read of a header vs the empty handler, p50", samples["Lamina: header"], empty, must=1.3, aim=1.1),
        ],
        remark="The empty handler's reply is empty, and nothing is parsed: so ours stands beside a copy of it, too.",
        reference=empty,
    )


def _as_dict(client: lamina.Client, config: str) -> Call:
    return lambda: dict(client.config(config))


def _newest(stub: ConfigServiceStub, key: str) -> Call:
    request = pb.GetKeyHistoryRequest(config=past.CONFIG, key=key, page_size=CHANGES, newest_first=True)

    def call() -> None:
        assert len(stub.GetKeyHistory(request).changes) == CHANGES

    return call
