"""The server's log: one JSON object a line, and never a value, whatever the error is."""

import json
import logging
import queue
import subprocess
import sys
from typing import Any

from lamina_server.logs.repeats import CAUSES_LIMIT, Repeats

SECRET = "s3cret-canary"

PRELUDE = """
import asyncio, logging, structlog
from lamina_server import logs
from lamina_server.domain.errors import HashMismatchError
logs.configure()
log = structlog.get_logger("lamina_server.test")
def fail(secret):
    try:
        int(secret)
    except ValueError as error:
        raise RuntimeError(secret) from error
"""


def logged(program: str) -> tuple[list[dict[str, Any]], str]:
    """Run a program that logs; return its lines, parsed and as they are."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + program], check=True, capture_output=True)
    assert not done.stdout
    text = done.stderr.decode()
    return [json.loads(line) for line in text.splitlines()], text


def test_a_line_is_one_json_object() -> None:
    (line,), _ = logged('log.info("ready", listen="localhost:7440")')
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "ready", "listen": "localhost:7440", "level": "info", "logger": "lamina_server.test"}


def test_newlines_and_terminal_escapes_are_escaped() -> None:
    (line,), text = logged(r'log.info("a\nb", key="\x1b[31m\x9b\x7f\r\u2028\x00é")')
    assert (line["event"], line["key"]) == ("a\nb", "\x1b[31m\x9b\x7f\r\u2028\x00é")
    assert all(" " <= character <= "~" for character in text.rstrip("\n"))


def test_an_exception_is_its_types_and_places_without_its_words() -> None:
    lines, text = logged(f"""
try:
    fail("{SECRET}")
except RuntimeError as error:
    log.error("bug", exc_info=error)
    log.exception("bug")
    logging.getLogger("library").exception("from a library")
""")
    assert SECRET not in text
    assert len(lines) == 3
    for line in lines:
        types = [one["type"] for one in line["exception"]]
        assert types == ["builtins.RuntimeError", "builtins.ValueError"]
        assert line["exception"][0]["at"][-1].endswith(" fail")


def test_our_own_errors_keep_their_words_and_drivers_their_numbers() -> None:
    lines, text = logged("""
log.error("a", exc_info=HashMismatchError("version 3 of 'shop/prod'"))
log.error("b", exc_info=OSError(28, "No space left on device", "/secret/path"))
""")
    assert lines[0]["exception"][0]["text"] == "version 3 of 'shop/prod' does not match its digest"
    assert lines[1]["exception"][0]["errno"] == 28
    assert "/secret/path" not in text


def test_libraries_and_things_json_does_not_know() -> None:
    lines, _ = logged("""
logging.getLogger("grpc").warning("%s is odd", "this")
log.info("thing", it=object(), raw=b"bytes")
logging.getLogger("chatty").debug("unheard")
logging.getLogger("psycopg").warning("error ignored terminating %r: %s", "pipeline", "quoted")
""")
    assert (lines[0]["event"], lines[0]["level"], lines[0]["logger"]) == ("this is odd", "warning", "grpc")
    assert (lines[1]["it"], lines[1]["raw"]) == ("<object>", "<bytes>")
    assert len(lines) == 2


def test_a_storm_is_two_lines_for_each_cause() -> None:
    """The first at once, and one with the number of the others when the interval or the process is over."""
    lines, _ = logged("""
def one():
    raise KeyError("x")
def other():
    raise KeyError("x")
for number in range(1000):
    log.error("call failed", reason="STORE_UNAVAILABLE", method=str(number))
    log.error("call failed", reason="DISK_FULL")
    logging.getLogger("grpc").warning("%s is odd", number)
    for fail in (one, other):
        try:
            fail()
        except KeyError:
            log.exception("bug")
""")
    assert [line.get("repeated") for line in lines] == [None] * 5 + [999] * 5
    assert lines[5]["method"] == "999"
    assert [line["exception"][0]["at"][-1].split()[-1] for line in lines if line["event"] == "bug"] == [
        "one",
        "other",
    ] * 2


def test_an_event_may_name_its_cause() -> None:
    """Otherwise the second of three configs would be missing."""
    lines, _ = logged("""
for config in ("a", "b", "c", "a", "b"):
    log.warning("late", cause=config, config=config)
""")
    said = [(line["config"], line.get("repeated")) for line in lines]
    assert said == [("a", None), ("b", None), ("c", None), ("a", 1), ("b", 1)]
    assert all("cause" not in line for line in lines)


def test_an_event_may_ask_for_fewer_lines() -> None:
    now, written = 0.0, []

    class Target(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append((str(record.msg["event"]), getattr(record, "repeated", 0)))  # type: ignore[index]

    handler = Repeats(Target(), monotonic=lambda: now)
    for event in ({"event": "ahead", "every_seconds": 3_600}, {"event": "late"}) * 2:
        handler.handle(logging.makeLogRecord({"msg": event, "levelno": logging.WARNING}))
    now = 60.0
    handler.write_due()
    assert written == [("ahead", 0), ("late", 0), ("late", 1)]
    handler.close()
    assert written[3:] == [("ahead", 1)]
    (line,), _ = logged('log.warning("ahead", every_seconds=3_600)')
    assert "every_seconds" not in line


def test_a_line_has_the_time_at_which_it_is_written() -> None:
    """A line with `repeated` is written later than it happened. The times in the log rise all the same."""
    lines, _ = logged("""
for number in range(2):
    log.error("call failed")
    logging.getLogger("grpc").warning("is odd")
log.error("end")
""")
    assert [line["event"] for line in lines] == ["call failed", "is odd", "end", "call failed", "is odd"]
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times)


def test_a_cause_has_one_line_an_interval() -> None:
    written: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Target(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.put(getattr(record, "repeated", 0))

    handler = Repeats(Target(), interval_seconds=0.05)
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"msg": "again", "levelno": logging.ERROR}))
    assert [written.get(timeout=10), written.get(timeout=10)] == [0, 2]
    handler.handle(logging.makeLogRecord({"msg": "other", "levelno": logging.ERROR}))
    assert written.get(timeout=10) == 0
    handler.close()
    assert written.empty()


def test_what_is_logged_when_no_thread_is_left_is_counted_all_the_same() -> None:
    lines, _ = logged("""
import threading
threading.stack_size(1 << 46)  # more than there can be
for number in range(3):
    log.error("call failed")
""")
    assert [line.get("repeated") for line in lines] == [None, 2]


def test_many_causes_at_once_become_one() -> None:
    """A message that is another one each time does not fill the memory."""
    written: list[tuple[str, int]] = []

    class Target(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append((record.msg, getattr(record, "repeated", 0)))

    handler = Repeats(Target(), monotonic=lambda: 0.0)
    for number in range(1_000):
        handler.handle(logging.makeLogRecord({"msg": f"{number} is odd", "levelno": logging.WARNING}))
    handler.close()
    assert written[:-1] == [(f"{number} is odd", 0) for number in range(CAUSES_LIMIT + 1)]
    assert written[-1] == ("999 is odd", 1_000 - CAUSES_LIMIT - 1)


def test_what_nobody_catches_is_a_line_without_its_words() -> None:
    lines, text = logged(f"""
import gc, threading, warnings
from lamina_server.logs import uncaught
async def main():
    asyncio.get_running_loop().set_exception_handler(uncaught.of_event_loop)
    async def lost():
        fail("{SECRET}")
    task = asyncio.ensure_future(lost())
    await asyncio.wait([task])
    del task
    gc.collect()
asyncio.run(main())
thread = threading.Thread(target=fail, args=("{SECRET}",))
thread.start()
thread.join()
class Unclean:
    def __del__(self):
        fail("{SECRET}")
Unclean()
warnings.warn("this is odd", RuntimeWarning)
import atexit
atexit.register(lambda: __import__("os")._exit(0))
fail("{SECRET}")
""")
    assert SECRET not in text
    bugs = [line for line in lines if line["event"] == "bug"]
    assert [line["doing"] for line in bugs] == [
        "Task exception was never retrieved",
        "run a thread",
        "clean up",
        "run the command",
    ]
    assert all(line["exception"][0]["at"][-1].endswith(" fail") for line in bugs)
    (warning,) = (line for line in lines if line["logger"] == "py.warnings")
    assert "this is odd" in warning["event"]
