"""Log records name the version of each config that was in force where they were made."""

import logging
import logging.handlers
import queue
from collections.abc import Iterator
from typing import Any

import pytest

import lamina
from lamina._provenance.log_filter import CONFIGS_LIMIT, read, written
from tests.client.live_helpers import put_and_reach
from tests.client.sdk import of
from tests.support.server import ServerProcess


class RecordingHandler(logging.Handler):
    """Keeps the formatted lines of its records."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(lamina)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture
def kept() -> RecordingHandler:
    return RecordingHandler()


@pytest.fixture
def logger(kept: RecordingHandler) -> Iterator[logging.Logger]:
    """A program's logger, whose records go to `kept` by the handler of its parent."""
    parent = logging.getLogger("tests.provenance")
    parent.addHandler(kept)
    parent.propagate, parent.level = False, logging.INFO
    yield parent.getChild("requests")
    parent.removeHandler(kept)


async def test_records_name_the_version_in_force(
    client: Any, config_name: str, kept: RecordingHandler, logger: logging.Logger
) -> None:
    cfg = await of(client.config(config_name, create=True))
    cfg["a"] = 1
    await of(cfg.commit())
    live = await of(client.live(config_name))
    provenance = lamina.ProvenanceFilter(live)
    kept.addFilter(provenance)
    logger.info("first")
    with live.pin():
        await put_and_reach(live, cfg, a=2)
        logger.info("pinned")
    logger.info("after")
    provenance.add(await of(client.live((await of(cfg.fork(f"{config_name}-fork"))).name)))
    logger.info("two")
    assert kept.lines == [
        f"{config_name}@1 first",
        f"{config_name}@1 pinned",
        f"{config_name}@2 after",
        f"{config_name}@2,{config_name}-fork@1 two",
    ]


class Shown:
    """An object that shows a version."""

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version


def test_a_record_keeps_the_version_of_the_moment_when_it_was_made(
    kept: RecordingHandler, logger: logging.Logger
) -> None:
    """Through a queue to a listener's thread, as in a program that logs without waiting for a disk."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    shown = Shown("a/b", 1)
    through = logging.handlers.QueueHandler(records)
    through.addFilter(lamina.ProvenanceFilter(shown))
    kept.addFilter(lamina.ProvenanceFilter(shown))
    own = logging.Logger("tests.queued")  # noqa: LOG001 - a logger for this test alone
    own.addHandler(through)
    own.info("first")
    shown.version = 2
    kept.handle(records.get())
    own.info("second", extra={"lamina": "said"})
    kept.handle(records.get())
    logger.info("third")
    assert kept.lines == ["a/b@1 first", "said second", "a/b@2 third"]


def test_the_filter_can_use_another_attribute() -> None:
    record = logging.makeLogRecord({})
    assert lamina.ProvenanceFilter(attribute="config").filter(record)
    assert lamina.ProvenanceFilter(Shown("a", 1)).filter(record)
    assert (record.config, record.lamina) == ("", "a@1")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("payments/prod@17", {"payments/prod": 17}),
        ("a@1,b-c/d.e/F_9@9223372036854775807", {"a": 1, "b-c/d.e/F_9": 2**63 - 1}),
        (" a@1 ,b@2,", {"a": 1, "b": 2}),
        ("a@1,a@1", {"a": 1}),
        ("a@1,a@2,b@3", {"b": 3}),
        ("a@1,a@2,a@1", {}),
        ("", {}),
        ("a", {}),
        ("a@", {}),
        ("@1", {}),
        ("a@0", {}),
        ("a@-1", {}),
        ("a@01", {}),
        ("a@1.0", {}),
        ("a@1e3", {}),
        ("a@\u0661", {}),
        ("a@9223372036854775808", {}),
        ("a@" + "9" * 5000, {}),
        ("/a@1", {}),
        ("a//b@1", {}),
        ("a/@1", {}),
        (".a@1", {}),
        ("../a@1", {}),
        ("a b@1", {}),
        ("a\n@1", {}),
        ("ä@1", {}),
        ("a@b@1", {}),
        ("a@1@2", {}),
        ("a@1;b@2", {}),
    ],
)
def test_text_without_a_config_and_a_version_is_ignored(text: str, versions: dict[str, int]) -> None:
    assert read(text) == versions
    assert read(written(versions)) == versions


def test_the_number_of_configs_is_limited() -> None:
    text = written({f"c{number}": number + 1 for number in range(CONFIGS_LIMIT * 2)})
    assert len(read(text)) == CONFIGS_LIMIT
