"""Streams of the command line that are closed or full, as a shell makes them."""

import subprocess

import lamina
from tests.cli.conftest import client, shop, target
from tests.cli.running import environment_of
from tests.support.server import config_name

__all__ = ["client", "config_name", "shop", "target"]


def test_closed_and_full_streams_have_exit_codes(target: str, shop: lamina.Config) -> None:
    def shell(line: str) -> "subprocess.CompletedProcess[str]":
        program = ["sh", "-c", line.replace("CONFIG", shop.name)]
        return subprocess.run(program, env=environment_of(target), capture_output=True, text=True, check=False)

    closed = shell("lamina get CONFIG >&-")
    assert (closed.returncode, closed.stderr) == (1, "lamina: standard output is closed\n")
    assert shell("lamina get CONFIG nope 2>&-").returncode == 4
    assert shell("lamina set CONFIG in=@- <&-").returncode == 2  # a closed stream is no empty text
    full = shell("lamina get CONFIG >/dev/full")
    assert (full.returncode, full.stderr) == (1, "lamina: No space left on device\n")
    help_closed, help_full = shell("lamina --help >&-"), shell("lamina --version >/dev/full")
    assert (help_closed.returncode, help_closed.stderr) == (1, "lamina: standard output is closed\n")
    assert (help_full.returncode, help_full.stderr) == (1, "lamina: No space left on device\n")
    exported = shell("lamina export CONFIG /dev/stdout >&-")
    assert (exported.returncode, "written" in exported.stderr) == (1, False)
    assert shell("lamina export CONFIG /dev/null >&-").returncode == 0  # it prints nothing
