"""Where a commit's microseconds go: the stages are measured on a real server, the rest of the page is synthetic."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tests.benchmarks.bench import Bench
from tests.benchmarks.scale import QUICK
from tests.benchmarks.where import page
from tests.benchmarks.where.counting import WHOLE_OF_MANY, WHOLE_OF_ONE
from tests.benchmarks.where.instructions import Counted
from tests.benchmarks.where.page import HOPS, ON_THE_LOOP, ON_THE_WRITER
from tests.benchmarks.where.stages import Stages
from tests.benchmarks.where.way import EMPTY, SDK, STUBS, Ends, Way, served

CALLERS = 3
ENDS = {SDK: Ends(3_000, 900, 800), STUBS: Ends(2_000, 500, 800), EMPTY: Ends(400, 300, 200)}
STAGES = ("parse", "proposal", "encode", "reply", "finish", "writer", "rest", WHOLE_OF_ONE, WHOLE_OF_MANY)
COUNTED = Counted(dict.fromkeys(STAGES, 77_000.0), {"the interpreter": 0.75, "the rest": 0.25})


def test_all_stages_of_a_commit_are_found_on_a_real_server() -> None:
    with Bench(replace(QUICK, rate_rounds=1, rate_seconds=0.2), Console(file=io.StringIO())) as bench:
        found = served(bench, CALLERS)
    rows = {row.title: found.spent(*row.stages) for row in (*ON_THE_LOOP, *ON_THE_WRITER)}
    assert [title for title, (wall, cpu) in rows.items() if min(wall, cpu) <= 0] == []
    assert all(found.spent(*row.stages)[0] > 0 for row in HOPS)
    assert 1 <= found.group <= CALLERS
    assert found.calls == pytest.approx(1)
    assert found.statements.keys() >= {"BEGIN", "PRAGMA", "SELECT", "INSERT", "COMMIT"}

    way = Way(ENDS, found)
    text = page.document([way, way], COUNTED, CALLERS, "1 May 2026.")
    assert all(f"| {title} |" in text for title in rows)
    assert "| SDK (`lamina.aio`): flows, records, map | 1,000 | 400 | 1,000 | 400 |  |" in text
    assert "75% the interpreter, 25% the rest. One caller alone needs 77 thousand." in text
    assert "valgrind is not installed" in page.document([way, way], None, CALLERS, "")


def test_the_time_of_a_stage_is_without_the_stages_that_it_calls() -> None:
    stages = Stages()
    inner = stages.timed("inner", lambda: sum(range(100_000)))
    stages.timed("outer", lambda: [inner() for _ in range(5)])()
    assert len(stages.times["inner"]) == 5
    assert stages.times["outer"][0].cpu < min(each.cpu for each in stages.times["inner"])
