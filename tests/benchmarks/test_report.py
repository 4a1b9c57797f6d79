"""The output of `make bench` from synthetic figures, and one figure of each kind, measured in its quick form."""

import asyncio
import io
from dataclasses import replace
from functools import partial

import pytest
from rich.console import Console

from tests.benchmarks import report
from tests.benchmarks.audience import Side, audience
from tests.benchmarks.bench import Bench
from tests.benchmarks.cases import CASES
from tests.benchmarks.figures import Bars, Check, Figure, Verdict, ratio
from tests.benchmarks.measuring import RATE, Samples, in_turn
from tests.benchmarks.peers import PEERS
from tests.benchmarks.scale import QUICK

FAST, SLOW = Samples("ours", values=[1.0, 2.0, 3.0]), Samples("etcd", values=[0.8, 1.0, 9.0])
RATES = Samples("commits", RATE, [2_000.0, 1_000.0, 3_000.0])
BARS = Bars("throughput", "64 callers", "a second", {"ours": 2_000, "etcd": 5_000})
LATER_SECONDS = 0.5
FIGURES = [
    Figure("3", "ten changes", [FAST, SLOW], checks=[ratio("vs etcd", FAST, SLOW, must=2.0, aim=1.3)], reference=SLOW),
    Figure("4", "many callers", [RATES], checks=[Check("vs etcd", 0.2, must=0.35, aim=0.6, at_least=True)]),
    Figure("recipe", "full copies", [Samples("growth", "B", [28_000])], remark="No server.", plots=[BARS]),
]


def test_there_is_a_case_for_every_figure_with_a_limit() -> None:
    storage, watches, sdk = (
        {f"{letter}{number}" for number in range(1, last)} for letter, last in (("", 11), ("W", 8), ("S", 5))
    )
    beside_others = {"K1", "K3", "K6", "K8", "K9"}
    assert storage | watches | sdk | beside_others <= CASES.keys()


@pytest.mark.parametrize(
    ("value", "at_least", "expected"),
    [
        (0.9, False, Verdict.AIM),
        (1.5, False, Verdict.MUST),
        (2.1, False, Verdict.NOT),
        (2.1, True, Verdict.MUST),
        (0.9, True, Verdict.NOT),
    ],
)
def test_verdict(value: float, at_least: bool, expected: Verdict) -> None:
    must, aim = (2.0, 3.0) if at_least else (2.0, 1.0)
    assert Check("", value, must=must, aim=aim, at_least=at_least).verdict is expected


def test_the_worst_time_is_the_99th_percentile_or_the_longest_of_few() -> None:
    assert Samples("", values=[*range(1, 1_001)]).worst == pytest.approx(990, abs=1)
    assert SLOW.worst == 9.0
    assert RATES.worst == 1_000.0


def test_sides_are_called_in_turn_and_equally_often() -> None:
    called: list[str] = []
    samples = in_turn({name: partial(called.append, name) for name in "abc"}, 20, warm_up=1)
    in_rounds = [called[start : start + 3] for start in range(0, len(called), 3)]
    assert [sorted(each) for each in in_rounds] == [["a", "b", "c"]] * 21
    assert len({tuple(each) for each in in_rounds}) > 3, "always in the same order"
    assert [len(each.values) for each in samples.values()] == [20, 20, 20]


def test_the_document_has_good_and_bad_figures() -> None:
    text = report.document(
        FIGURES, machine={"disk": "ext4"}, versions={"Python": "3.11", "etcd": "3.5.1"}, date="1 May 2026"
    )
    assert "1 May 2026. disk: ext4." in text
    assert "Versions: Python 3.11, etcd 3.5.1." in text
    assert "| 3 | vs etcd | 2.00x | ≤ 2.00x | 1.30x | met |" in text
    assert "| 4 | vs etcd | 0.20x | ≥ 0.35x | 0.60x | NOT met |" in text
    assert "|  | median | p99 or worst | of etcd |\n|---|---:|---:|---:|\n| ours | 2.00 ms | 3.00 ms | 2.00x |" in text
    assert "| commits | 2,000/s | 1,000/s |" in text
    assert "| growth | 28,000 B |  |\n\nNo server.\n\n![64 callers](throughput.svg)\n" in text


def test_tables_for_the_terminal() -> None:
    printed = io.StringIO()
    console = Console(file=printed, width=120)
    console.print(report.summary_table(FIGURES), *map(report.details_table, FIGURES))
    assert "NOT met" in printed.getvalue()
    assert "28,000 B" in printed.getvalue()


def test_one_figure_of_storage_is_measured_on_real_servers() -> None:
    """Compared with the floor alone if there is no etcd."""
    printed = io.StringIO()
    with Bench(QUICK, Console(file=printed)) as bench:
        figure = CASES["9"](bench)
        folder = bench.folder
    assert {each.name for each in figure.samples} >= {"floor: empty handler", "Lamina: header"}
    assert all(len(each.values) == QUICK.rounds for each in figure.samples)
    assert all(check.value > 0 for check in figure.checks)
    assert not folder.exists()


def test_one_figure_of_watches_is_measured_on_real_servers() -> None:
    """The one of a watcher among many others, with their process."""
    scale = replace(QUICK, crowd=(6, 2))
    with Bench(scale, Console(file=io.StringIO())) as bench:
        figure = CASES["W4"](bench)
    assert [len(each.values) for each in figure.samples] == [scale.few_rounds] * 3
    assert all(check.value > 0 for check in figure.checks)


def test_one_figure_of_the_sdk_is_measured_on_a_real_server() -> None:
    """The one of local reads."""
    with Bench(QUICK, Console(file=io.StringIO())) as bench:
        figure = CASES["S1"](bench)
    assert [len(each.values) for each in figure.samples] == [QUICK.few_rounds] * 4
    assert all(check.value > 0 for check in figure.checks)


def test_one_figure_beside_other_servers_is_measured_on_real_ones() -> None:
    """Beside those that are installed; each that is not is named, with what installs it."""
    printed = io.StringIO()
    with Bench(QUICK, Console(file=printed, width=200)) as bench:
        figure = CASES["K1"](bench)
        there = {peer.name for peer in bench.peers}
    named = {each.name for each in figure.samples}
    assert {"Lamina: SDK", "Lamina: bare stubs", "Lamina: SDK, CPU of the server"} | there <= named
    assert printed.getvalue().count("left out: ") == len(PEERS) - len(there)
    assert "Lamina: synced before the answer" in figure.remark


def test_an_event_lasts_until_every_stream_has_brought_it() -> None:
    """With two streams, the time is that of the later one. Messages without an event do not count."""

    async def measure() -> tuple[float, float]:
        first, second = _Stream(), _Stream()
        streams = iter([first, second])

        async def open_next(_: object) -> _Stream:
            return next(streams)

        async def call() -> None:
            first.messages.put_nowait("event")
            second.messages.put_nowait("bookmark")
            asyncio.get_running_loop().call_later(LATER_SECONDS, second.messages.put_nowait, "event")

        side = Side("localhost:1", open_next, lambda _: call, lambda message: message == "event")
        async with audience(side, streams=2) as heard:
            return await heard.event(), heard.answered_ms[0]

    until_heard, until_answered = asyncio.run(measure())
    assert until_heard - until_answered > LATER_SECONDS * 1_000 / 2


class _Stream:
    """A stream that brings the messages put into it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    async def read(self) -> str:
        return await self.messages.get()
