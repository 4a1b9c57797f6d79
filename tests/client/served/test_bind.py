"""Settings bound to a live, with both clients. The tests of pydantic's models are in test_pydantic.py."""

import asyncio
import enum
import gc
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, Literal, Optional, Union

import pytest

import lamina
from tests.client.live_helpers import SECONDS, put, put_and_reach, reach
from tests.client.sdk import of
from tests.client.settings_helpers import filled, fitted
from tests.support.server import ServerProcess

SECRET = "tell-nobody"
INT = " (expected int)"


@dataclass(frozen=True)
class Database:
    host: str
    port: int = 5432


@dataclass(frozen=True)
class Settings:
    x: int
    db: Database = Database("nowhere")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on one kind of database: only the client binds settings."""
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"x": 1, "db/host": "h1"}."""
    made = await of(client.config(config_name, create=True))
    await put(made, **{"x": 1, "db/host": "h1"})
    return made


@pytest.fixture
async def live(client: Any, cfg: Any) -> Any:
    return await of(client.live(cfg.name))


class Recorder:
    """A callback that records its arguments, on any thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __call__(self, *arguments: Any) -> None:
        self.calls.append(arguments)
        self._loop.call_soon_threadsafe(self._queue.put_nowait, arguments)

    async def next(self) -> tuple[Any, ...]:
        return await asyncio.wait_for(self._queue.get(), SECONDS)


async def test_settings_follow_the_head(live: Any, cfg: Any) -> None:
    bound, recorder = live.bind(Settings), Recorder()
    assert bound.current == Settings(1, Database("h1"))
    assert (bound.version, bound.error, bound.state) == (1, None, "LIVE")
    assert repr(bound) == f"<Bound Settings of {cfg.name!r} version 1, LIVE>"
    assert bound.on_change(recorder) is recorder
    before = bound.current
    await put_and_reach(live, cfg, **{"x": 2, "db/port": 1, "unrelated": [1]})
    assert (bound.current, bound.version) == (Settings(2, Database("h1", 1)), 2)
    assert before == Settings(1, Database("h1"))
    assert await recorder.next() == (before, bound.current)
    await put_and_reach(live, cfg, unrelated=2)
    assert (bound.current, bound.version) == (Settings(2, Database("h1", 1)), 3)
    await put_and_reach(live, cfg, x=4)
    assert await recorder.next() == (Settings(2, Database("h1", 1)), Settings(4, Database("h1", 1)))
    assert len(recorder.calls) == 2  # not for version 3, which changed no setting


async def test_a_version_that_does_not_fit_is_reported_and_the_old_settings_stay(
    live: Any, cfg: Any, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, invalid = Recorder(), Recorder()
    bound = live.bind(Settings, on_invalid=invalid)
    bound.on_change(recorder)
    before = bound.current
    await put_and_reach(live, cfg, **{"x": SECRET, "db/port": SECRET})
    assert bound.current is before
    assert (bound.version, bound.state, live.version, live.state) == (1, "STALE", 2, "LIVE")
    error = bound.error
    assert isinstance(error, lamina.SettingsError)
    assert (error.version, error.problems) == (2, {"x": f"int_type{INT}", "db/port": f"int_type{INT}"})
    assert str(error) == f"version 2 of {cfg.name} does not fit Settings: x: int_type{INT}; db/port: int_type{INT}"
    assert await invalid.next() == (error,)
    [record] = [record for record in caplog.records if record.name == "lamina"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, f"{error}; version 1 is kept")
    assert record.exc_info is None
    assert SECRET not in caplog.text + repr(bound) + repr(error)
    await put_and_reach(live, cfg, **{"x": 3, "db/port": 3})
    assert bound.current == Settings(3, Database("h1", 3))
    assert (bound.version, bound.error, bound.state, live.version) == (3, None, "LIVE", 3)
    assert await recorder.next() == (before, bound.current)
    assert (len(recorder.calls), len(invalid.calls)) == (1, 1)


async def test_bind_refuses_a_version_that_does_not_fit(live: Any, cfg: Any, caplog: pytest.LogCaptureFixture) -> None:
    invalid = Recorder()
    await put_and_reach(live, cfg, x=SECRET, db={"host": SECRET, "port": SECRET})
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Settings, on_invalid=invalid)
    assert isinstance(caught.value, lamina.InvalidError)
    assert caught.value.problems == {"x": f"int_type{INT}", "db": f"int_type{INT}"}
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert invalid.calls == []
    await put_and_reach(live, cfg, x=1, db={"port": 7})
    assert live.bind(Settings).current == Settings(1, Database("h1", 7))


async def test_prefix_and_delimiter_choose_the_keys(live: Any, cfg: Any) -> None:
    await put_and_reach(live, cfg, **{"shop.x": 7, "shop.db.host": "h7", "shop.db.port": 1.5, "shop.db/host": "no"})
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Settings, prefix="shop.", delimiter=".")
    assert caught.value.problems == {"shop.db.port": f"int_type{INT}"}
    cfg["shop.db.port"] = 2
    await put_and_reach(live, cfg)
    assert live.bind(Settings, prefix="shop.", delimiter=".").current == Settings(7, Database("h7", 2))
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Settings, prefix="nothing/")
    assert caught.value.problems == {"nothing/x": f"missing{INT}"}
    with pytest.raises(lamina.SettingsError, match=r"f9: missing \(expected int\); and 2 more$") as caught:
        live.bind(make_dataclass("Large", [(f"f{number}", int) for number in range(12)]))
    assert len(caught.value.problems) == 12
    with pytest.raises(lamina.InvalidError, match="delimiter is empty"):
        live.bind(Settings, delimiter="")


@dataclass(frozen=True)
class Twice:
    db: Database = Database("db")
    main_db: Database = Database("main")
    db_port: int = 0


async def test_a_name_may_hold_the_delimiter(live: Any, cfg: Any) -> None:
    await put_and_reach(live, cfg, db_host="h1", main_db_host="h2", main_db_port=2, db_port=3)
    assert live.bind(Twice, delimiter="_").current == Twice(Database("h1"), Database("h2", 2), 3)
    await put_and_reach(live, cfg, main_db_port=SECRET, main_db_nothing=1, main_nothing=1)
    with pytest.raises(lamina.SettingsError) as caught:
        live.bind(Twice, delimiter="_")
    assert caught.value.problems == {"main_db_port": f"int_type{INT}"}


async def test_settings_are_current_after_wait_and_never_ahead(live: Any, cfg: Any) -> None:
    bound, is_over, ahead = live.bind(Settings), threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            version = bound.version
            if version > live.version:
                ahead.append(version)

    looking = asyncio.create_task(asyncio.to_thread(look))
    try:
        for number in range(2, 61):
            await put_and_reach(live, cfg, x=number)
            assert (bound.version, bound.current.x) == (number, number)
    finally:
        is_over.set()
        await looking
    assert ahead == []


async def test_an_error_in_a_dataclass_or_a_callback_does_not_stop_updates(
    live: Any, cfg: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @dataclass
    class Picky:
        x: int
        error: str | None = None

        def __post_init__(self) -> None:
            errors = {"v": ValueError, "a": AssertionError, "k": KeyError, "s": SystemExit, "c": asyncio.CancelledError}
            if isinstance(live, lamina.Live):
                errors["i"] = KeyboardInterrupt  # it is Ctrl-C only in the main thread
            if self.error:
                raise errors[self.error](SECRET)

        def apply(self, _old: object, _new: object) -> None:
            raise SystemExit if isinstance(live, lamina.Live) else OSError

        def __repr__(self) -> str:
            return SECRET

    bound, recorder = live.bind(Picky), Recorder()
    bound.on_change(bound.current.apply)
    bound.on_change(recorder)
    kinds = {"v": "value_error", "a": "assertion_error", "k": "KeyError", "s": "SystemExit", "c": "CancelledError"}
    if isinstance(live, lamina.Live):
        kinds["i"] = "KeyboardInterrupt"
    for error, kind in kinds.items():
        await put_and_reach(live, cfg, error=error)
        assert bound.error.problems == {"": kind}
        assert f"Picky: (all keys): {kind}" in str(bound.error)
    defects = [message for message in caplog.messages if "Picky has a defect" in message]
    assert len(defects) == len(kinds) - 2  # a value_error and an assertion_error are verdicts, not defects
    assert all(f'File "{__file__}", line ' in message for message in defects)
    await put_and_reach(live, cfg, error=None, x=2)
    await recorder.next()
    assert (bound.current.x, live.state) == (2, "LIVE")
    assert "on_change: " in caplog.text
    assert f"Picky.apply failed at version {live.version}" in caplog.text
    assert SECRET not in caplog.text


async def test_settings_that_cannot_be_compared_count_as_changed(live: Any, cfg: Any) -> None:
    @dataclass(eq=False)
    class Incomparable:
        x: int

        def __eq__(self, _other: object) -> bool:
            raise SystemExit

        __hash__ = None  # type: ignore[assignment]

    bound, recorder = live.bind(Incomparable), Recorder()
    bound.on_change(recorder)
    for x in (2, 2, 3):
        await put_and_reach(live, cfg, x=x, y=live.version)
        assert ((await recorder.next())[1].x, bound.version, live.state) == (x, live.version, "LIVE")


@pytest.mark.parametrize("sdk", ["aio"], indirect=True)
async def test_coroutine_functions_are_awaited(live: Any, cfg: Any) -> None:
    recorder, invalid, bound = Recorder(), Recorder(), None

    async def function(old: Settings, new: Settings) -> None:
        await asyncio.sleep(0)
        recorder(old.x, new.x)

    async def report(error: lamina.SettingsError) -> None:
        await asyncio.sleep(0)
        invalid(error.version)

    bound = live.bind(Settings, on_invalid=report)
    bound.on_change(function)
    await put(cfg, x="no")
    await put_and_reach(live, cfg, x=3)
    assert await recorder.next() == (1, 3)
    assert invalid.calls in ([], [(2,)])  # one message may have both versions, and then only the last one is shown


@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_slow_settings_delay_only_their_own_live(client: Any, cfg: Any) -> None:
    begun, over = threading.Event(), threading.Event()

    @dataclass
    class Slow:
        x: int

        def __post_init__(self) -> None:
            if self.x > 1:
                begun.set()
                over.wait(SECONDS)

    live, other = client.live(cfg.name), client.live(cfg.name)
    bound = live.bind(Slow)
    await put(cfg, x=2)
    assert await asyncio.to_thread(begun.wait, SECONDS)
    try:
        await put_and_reach(other, cfg, x=3)
        assert (other["x"], live["x"], bound.current.x, bound.version) == (3, 3, 1, 1)
        late = r"at version 3, and what is bound to it is not at 2, after 0\.1 s"
        with pytest.raises(lamina.DeadlineError, match=late):
            live.wait(2, timeout=0.1)
        waiting = asyncio.create_task(reach(live, 3))
    finally:
        over.set()
    await waiting
    assert (bound.current.x, bound.version) == (3, 3)


async def test_closing_a_live_stops_its_settings(client: Any, live: Any, cfg: Any) -> None:
    bound, recorder, other, after = live.bind(Settings), Recorder(), await of(client.live(cfg.name)), Recorder()
    bound.on_change(recorder)
    kept = other.bind(Settings)
    kept.on_change(after)
    await of(live.close())
    await put_and_reach(other, cfg, x=2)
    assert await after.next() == (Settings(1, Database("h1")), Settings(2, Database("h1")))
    assert (bound.current.x, bound.version, bound.state, recorder.calls) == (1, 1, "STALE", [])
    assert (kept.current.x, kept.version, kept.state) == (2, 2, "LIVE")
    await reach(live, 1)
    with pytest.raises(lamina.InvalidError, match="closed"):
        live.bind(Settings)
    with pytest.raises(lamina.InvalidError, match="closed"):
        bound.on_change(recorder)
    await of(client.close())
    assert (kept.current.x, kept.state) == (2, "STALE")
    assert not [thread for thread in threading.enumerate() if thread.name == "lamina-bind"]


async def test_callbacks_continue_if_nobody_keeps_the_live(client: Any, cfg: Any) -> None:
    recorder = Recorder()
    (await of(client.live(cfg.name))).bind(Settings).on_change(recorder)
    for number in (2, 3):
        gc.collect()
        await put(cfg, x=number)
        assert (await recorder.next())[1].x == number


FORKING = """
import os, sys
from dataclasses import dataclass
import lamina

@dataclass
class Settings:
    x: int

client = lamina.connect(sys.argv[1])
cfg = client.config("forked", create=True)
cfg["x"] = 1
cfg.commit()
reports, done = os.pipe(), os.pipe()
bound = client.live("forked").bind(Settings)
bound.on_change(lambda old, new: os.write(reports[1], b"%d%d\\n" % (old.x, new.x)))
if not os.fork():
    os.read(done[0], 1)  # the child never reads the live
    os.write(reports[1], b"%d-\\n" % bound.current.x)
    os._exit(0)
cfg["x"] = 2
cfg.commit()
found = b""
while len(found) < 6:
    found += os.read(reports[0], 3)
os.write(done[1], b"x")
while len(found) < 9:
    found += os.read(reports[0], 3)
print(found.split())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_settings_follow_in_a_forked_child(server: ServerProcess) -> None:
    program = [sys.executable, "-c", FORKING, server.target]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
    assert done.stdout == "[b'12', b'12', b'2-']\n"


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Node:
    name: str
    under: "list[Node]" = field(default_factory=list)


@dataclass
class Every:
    i: int = 0
    f: float = 0.0
    s: str = ""
    b: bool = False
    y: bytes = b""
    n: None = None
    o: int | None = None
    p: Optional[str] = None  # noqa: UP045 - the old spelling is found, too
    u: Union[float, int, str] = 0  # noqa: UP007
    e: Colour = Colour.RED
    r: Level = Level.LOW
    m: Literal["a", 1] = 1
    em: Literal[Colour.RED, "blue"] = "blue"
    a: Any = None
    w: Annotated[int, ["metadata"]] = 0
    plain_list: list = field(default_factory=list)  # type: ignore[type-arg]
    ints: list[int] = field(default_factory=list)
    many: tuple[str, ...] = ()
    plain_dict: dict = field(default_factory=dict)  # type: ignore[type-arg]
    floats: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    node: Node | None = None
    either: Node | Database | None = None
    made: int = field(init=False, default=5)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("i", 5, 5),
        ("f", 5, 5.0),
        ("f", 1.5, 1.5),
        ("s", "x", "x"),
        ("b", True, True),
        ("y", b"x", b"x"),
        ("n", None, None),
        ("o", None, None),
        ("o", 5, 5),
        ("p", "x", "x"),
        ("u", 1, 1),
        ("u", 1.5, 1.5),
        ("u", "x", "x"),
        ("e", "red", Colour.RED),
        ("r", 1, Level.LOW),
        ("m", "a", "a"),
        ("m", 1, 1),
        ("em", "red", Colour.RED),
        ("em", "blue", "blue"),
        ("a", {"x": [1]}, {"x": [1]}),
        ("a/x/y", 1, {"x": {"y": 1}}),
        ("w", 5, 5),
        ("plain_list", [1, "x"], [1, "x"]),
        ("ints", [1, 2], [1, 2]),
        ("many", ["a", "b"], ("a", "b")),
        ("plain_dict", {"x": 1}, {"x": 1}),
        ("floats", {"x": 1}, {"x": 1.0}),
        ("floats/x", 1, {"x": 1.0}),
        ("nodes/one/name", "n", {"one": Node("n")}),
        ("node", {"name": "n", "under": [{"name": "m"}]}, Node("n", [Node("m")])),
        ("node/name", "n", Node("n")),
        ("either/host", "h", Database("h")),
        ("made", 6, 5),
        ("i/below", 6, 0),
        ("node/unknown", 6, None),
        ("i", True, "int_type"),
        ("i", 1.0, "int_type"),
        ("i", "1", "int_type"),
        ("i", None, "int_type"),
        ("f", "1", "float_type"),
        ("f", True, "float_type"),
        ("s", b"x", "string_type"),
        ("s", 1, "string_type"),
        ("b", 1, "bool_type"),
        ("y", "x", "bytes_type"),
        ("n", 0, "none_required"),
        ("o", "x", "int_type"),
        ("u", [1], "float_type, int_type, string_type"),
        ("e", "blue", "enum"),
        ("e", [1], "enum"),
        ("r", True, "enum"),
        ("m", True, "literal_error"),
        ("ints", [1, "x"], "int_type"),
        ("ints", {"x": 1}, "list_type"),
        ("many", "ab", "tuple_type"),
        ("plain_dict", [1], "dict_type"),
        ("floats", {"x": "1"}, "float_type"),
        ("node", "x", "dataclass_type"),
        ("node", {"under": []}, "missing"),
        ("node", {"name": "n", "under": [{}]}, "missing"),
        ("node/under", [], {"node/name": "missing"}),
    ],
)
def test_dataclasses_are_checked(key: str, value: Any, expected: Any) -> None:
    made, problems = fitted(Every, {key: value})
    if made is None:
        assert problems == (expected if isinstance(expected, dict) else {key: expected})
    else:
        found = getattr(made, key.split("/", maxsplit=1)[0])
        assert (found, type(found)) == (expected, type(expected))


async def test_unsupported_types_are_refused(live: Any) -> None:
    @dataclass
    class Unsupported:
        x: set[int]

    @dataclass
    class Inner:
        inner: list[tuple[int, str]]

    @dataclass
    class Outer:
        x: dict[str, Inner]

    @dataclass
    class Unknown:
        x: "NotThere"  # type: ignore[name-defined]  # noqa: F821

    for settings, text in [
        (Unsupported, r"Unsupported\.x is annotated with set\[int\]"),
        (Outer, r"Inner\.inner is annotated with tuple\[int, str\]"),
        (Unknown, "Unknown names 'NotThere'"),
        (int, "not <class 'int'>"),
        (Settings(1), "not an object of <class"),
    ]:
        with pytest.raises(TypeError, match=text):
            live.bind(settings)


def test_a_key_s_own_dict_is_merged_with_the_keys_below_it() -> None:
    """Any other value of the key hides the keys below it."""
    assert filled(Settings, {"db/port": 2, "db": {"host": "h", "port": 1}}) == {"db": {"host": "h", "port": 2}}
    assert filled(Settings, {"db/port": 2, "db": 5}) == {"db": 5}
    assert filled(Settings, {"db/port/x": 2, "x/y": 1, "y": 1, "db/": 1, "/db": 1}) == {}


async def test_settings_are_of_the_head_while_another_version_is_pinned(live: Any, cfg: Any) -> None:
    first = live.current
    await put_and_reach(live, cfg, x=2)
    with live.pin(first):
        assert (live["x"], live.bind(Settings).current.x) == (1, 2)
