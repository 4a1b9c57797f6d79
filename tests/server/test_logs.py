"""The server's log: one JSON object a line, and never a value, whatever the error is."""

import json
import subprocess
import sys
from typing import Any

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
""")
    assert (lines[0]["event"], lines[0]["level"], lines[0]["logger"]) == ("this is odd", "warning", "grpc")
    assert (lines[1]["it"], lines[1]["raw"]) == ("<object>", "<bytes>")
    assert len(lines) == 2
