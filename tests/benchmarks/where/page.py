"""Measures where a commit's microseconds go, and writes the page on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from tests.benchmarks import machine
from tests.benchmarks.bench import Bench
from tests.benchmarks.report import markdown
from tests.benchmarks.where import instructions, server
from tests.benchmarks.where.counting import WHOLE_OF_MANY, WHOLE_OF_ONE
from tests.benchmarks.where.instructions import Counted
from tests.benchmarks.where.learned import LEARNED
from tests.benchmarks.where.way import EMPTY, SDK, STUBS, Way, way_of

PART = "… "
"""Begins a row whose times are also in the one before it."""
TENTHS_BELOW_US = 10

Times: TypeAlias = tuple[float | None, float | None]
"""Microseconds on the wall and of CPU; None where one of them means nothing."""

_INTRODUCTION = """# Where a commit's microseconds go

`make bench ARGS="--where"` measures this and writes this page. A commit sets one key of a map of 1,000, on a SQLite
file with `synchronous=FULL`, for one caller or for {callers} callers in one asyncio process. All times are microseconds
for each commit: what happens once for a group of commits is divided by the commits of the group.

- The rows of the client, of the empty handler and "in all" were measured in turn, in slices of time, on servers as
  users run them: the time of the quickest slice, and the median CPU.
- The stages of the server were measured in a server whose public functions are wrapped from outside
  ([where/server.py](where/server.py)), without what other stages take within them: the median time of a call and its
  mean CPU, times the calls for each commit. To wrap a function costs {cost:.1f} µs for each call, which is subtracted.
- "Wall" contains the waits for Python's lock and for the disk; "CPU" does not, and it adds up. COMMIT's CPU contains
  the checkpoints.
- {instructions}

Read what is large and what is small, not the last digit.
"""

_COUNTED = """\
Instructions are thousands for each commit of {callers} callers, without gRPC, counted by callgrind. They vary by a
  hundredth or two, where times vary by half: compare these before and after a change."""
_NOT_COUNTED = "Instructions were not counted: valgrind is not installed."


class Row(NamedTuple):
    """A row of the table: stages of the server, and the name of what was counted of them."""

    title: str
    stages: Sequence[str]
    counted: str = ""


_FINISH = ("freeze heads", "advance heads", "check the feed's head", "feed", "news", "keyframes", "settle proposals")
ON_THE_LOOP = (
    Row("parse, check, digest of the request (`wire/parse.py`)", ("caller", "parse"), "parse"),
    Row("proposal: decide, plan, digest of the version (`commits/proposals.py`)", ("proposal",), "proposal"),
    Row("encode the version (`cache/encoded.py`)", ("encode",), "encode"),
    Row("finish a group, in all", (*_FINISH, server.FINISH), "finish"),
    Row(PART + "advance the heads (`cache/heads.py`)", ("freeze heads", "advance heads")),
    Row(PART + "feed, keyframes (`feed/feed.py`)", ("check the feed's head", "feed", "news", "keyframes")),
    Row(PART + "settle the proposals", ("settle proposals",)),
    Row("encode the reply (`wire/encode.py`)", ("reply",), "reply"),
)
ON_THE_WRITER = (
    Row("begin, look at the file, `data_version`", (server.BEGIN, "look at the file")),
    Row("compare heads, look up request ids, check proposals", ("heads", "request ids", "check proposals")),
    Row("give ids", ("give ids",)),
    Row("make rows (`models/rows.py`) and INSERT them", ("make and INSERT rows",)),
    Row("COMMIT, with its sync", (server.COMMIT,)),
    Row("confirm the file", ("confirm the file",)),
    Row("end of the block", (server.END,)),
)
HOPS = (Row("to the writer's thread", (server.TO_WRITER,)), Row("back to the event loop", (server.FROM_WRITER,)))


def measure(bench: Bench, facts: Mapping[str, str], date: str) -> str:
    """Measure everything; return the page. `facts` are those of the machine."""
    ways = [way_of(bench, callers) for callers in (1, bench.scale.callers)]
    absent = instructions.missing()
    if absent:
        bench.console.print(
            f"[yellow]instructions are not counted: {absent} is not installed (apt install valgrind)[/]"
        )
    counted = None if absent else instructions.count(bench.folder)
    versions = ", ".join(f"{name} {value}" for name, value in machine.versions({}).items())
    told = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return document(ways, counted, bench.scale.callers, f"{date}. {told}. Versions: {versions}.")


def document(ways: Sequence[Way], counted: Counted | None, callers: int, facts: str) -> str:
    """Write the page. `facts` say when and where it was measured."""
    told = _COUNTED.format(callers=callers) if counted else _NOT_COUNTED
    parts = [
        _INTRODUCTION.format(callers=callers, cost=ways[0].served.cost, instructions=told),
        facts,
        _stages_table(ways, counted, callers),
        "How often:",
        _counts_table(ways, callers),
        _shares(counted, callers),
        LEARNED,
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _stages_table(ways: Sequence[Way], counted: Counted | None, callers: int) -> str:
    titles = ["", "one caller: wall", "CPU", f"{callers} callers: wall", "CPU", "thousand instructions"]

    def row(title: str, times: Callable[[Way], Times], instructions_of: str = "") -> Sequence[str]:
        cells = [_us(time) for way in ways for time in times(way)]
        return title, *cells, _thousands(counted, instructions_of)

    def stages(row_: Row) -> Sequence[str]:
        return row(row_.title, lambda way: way.served.spent(*row_.stages), row_.counted)

    def hop(row_: Row) -> Sequence[str]:
        return row(row_.title, lambda way: (way.served.spent(*row_.stages)[0], None))

    rows = [
        _headline("client"),
        row("SDK (`lamina.aio`): flows, records, map", lambda way: way.beyond(SDK, STUBS)),
        row("stubs and messages; on the wall, the server's work, too", lambda way: way.beyond(STUBS, EMPTY)),
        row("gRPC: an empty call there and back", lambda way: (way.ends[EMPTY].wall, way.ends[EMPTY].client)),
        _headline("server, event loop"),
        row("gRPC's own, all threads: the empty handler", lambda way: (None, way.ends[EMPTY].server)),
        *map(stages, ON_THE_LOOP),
        row("the rest of this thread: tasks, futures, gRPC's part", _rest_of_loop, "rest"),
        _headline("server, from thread to thread"),
        *map(hop, HOPS),
        _headline("server, writer's thread"),
        *map(stages, ON_THE_WRITER),
        row("the rest: contexts, records, waits for Python's lock", _rest_of_writer),
        row("this thread in all", _writer, "writer"),
        _headline("in all"),
        row("the server's process", lambda way: (None, way.ends[STUBS].server), WHOLE_OF_MANY),
        row("a commit through bare stubs", lambda way: (way.ends[STUBS].wall, way.ends[STUBS].client)),
        row("a commit through the SDK", lambda way: (way.ends[SDK].wall, way.ends[SDK].client)),
    ]
    return markdown(titles, rows, "lrrrrr")


def _headline(title: str) -> Sequence[str]:
    return f"**{title}**", *[""] * 5


def _rest_of_loop(way: Way) -> Times:
    known = sum(way.served.spent(*row.stages)[1] for row in ON_THE_LOOP if not row.title.startswith(PART))
    return None, way.served.threads[server.LOOP_THREAD] - known


def _writer(way: Way) -> Times:
    return way.served.spent(server.TRANSACTION)[0], way.served.threads[server.WRITER_THREAD]


def _rest_of_writer(way: Way) -> Times:
    known = way.served.spent(*(name for row in ON_THE_WRITER for name in row.stages))
    wall, cpu = way.served.spent(server.TRANSACTION)[0], way.served.threads[server.WRITER_THREAD]
    return wall - known[0], cpu - known[1]


def _us(time_us: float | None) -> str:
    return "" if time_us is None else f"{time_us:,.0f}" if abs(time_us) >= TENTHS_BELOW_US else f"{time_us:.1f}"


def _thousands(counted: Counted | None, name: str) -> str:
    if counted is None or not name:
        return ""
    return f"{counted.stages[name] / 1_000:,.0f}"


def _counts_table(ways: Sequence[Way], callers: int) -> str:
    rows = [
        ("commits of one transaction", *(f"{way.served.group:.1f}" for way in ways)),
        ("calls of the SDK", *(f"{way.served.calls:.2f}" for way in ways)),
        ("SQL statements of one transaction", *(_statements(way) for way in ways)),
        ("hand-overs from thread to thread", *(f"{2 / way.served.group:.2f}" for way in ways)),
    ]
    return markdown(("", "one caller", f"{callers} callers"), rows, "lrr")


def _statements(way: Way) -> str:
    each = ", ".join(f"{count:.1f} {word}" for word, count in way.served.statements.items())
    return f"{sum(way.served.statements.values()):.1f}: {each}"


def _shares(counted: Counted | None, callers: int) -> str:
    if counted is None:
        return ""
    shares = ", ".join(f"{share:.0%} {who}" for who, share in counted.shares.items())
    one = counted.stages[WHOLE_OF_ONE] / 1_000
    return (
        f"Who carries out the instructions of {callers} callers: {shares}. One caller alone needs {one:,.0f} thousand."
    )
