"""The units of `server/ops/systemd`: systemd accepts them, and their commands run within what they allow."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lamina
from tests.operation.deployed import OPS, block, section
from tests.support import absent
from tests.support.server import ServerProcess

UNITS = OPS / "systemd"
SERVICES = ("lamina-server.service", "lamina-backup.service")
PROGRAM = "/opt/lamina/bin/lamina-server"
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.MULTILINE)
FAMILIES = re.compile(r"\bsocket\((AF_\w+)")


def program(name: str, remedy: str) -> str:
    return shutil.which(name) or absent(name, remedy)


def analyze(*arguments: object) -> str:
    words = [program("systemd-analyze", "apt install systemd"), "--no-pager", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(unit: str, name: str) -> list[str]:
    """Return all values of a line of a unit."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Make a folder with the units, whose program is one that this machine has."""
    folder = tmp_path / "units"
    folder.mkdir()
    for path in UNITS.iterdir():
        (folder / path.name).write_text(path.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"))
    return folder


def test_systemd_understands_each_line(units: Path) -> None:
    assert analyze("verify", *sorted(units.iterdir())) == ""


@pytest.mark.parametrize(("unit", "most"), [(SERVICES[0], 15), (SERVICES[1], 10)])
def test_the_exposure_is_as_the_page_says(unit: str, most: int, units: Path) -> None:
    """`most` is tenths: another systemd may count in another way than that of the page."""
    last = analyze("security", "--offline=yes", f"--threshold={most}", units / unit).rstrip().splitlines()[-1]
    level = re.search(r"Overall exposure level for \S+: [\d.]+ \w+", last)
    assert level is not None
    if "systemd 252 " in analyze("--version"):
        assert level[0] in section("systemd")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Make `/etc/lamina` as the page does, but for the address."""
    (tmp_path / "var").mkdir()
    text = block(section("systemd"), "toml", "listen")
    assert 'listen = "0.0.0.0:7440"' in text
    assert re.findall(r'"/etc/lamina/(.*)"', text) == ["cert.pem", "key.pem", "secret.key"]
    kept = [line for line in text.splitlines() if "/etc/lamina" not in line and not line.startswith("listen")]
    (tmp_path / "server.toml").write_text("\n".join([*kept, f'listen = "unix:{tmp_path}/s"', 'access = "open"']))
    return tmp_path


def command(unit: str) -> list[str]:
    (line,) = settings(unit, "ExecStart")
    first, *words = shlex.split(line)
    assert first == PROGRAM
    return [sys.executable, "-m", "lamina_server", *words]


def environment(unit: str, etc: Path) -> dict[str, str]:
    (line,) = settings(unit, "Environment")
    name, _, value = line.partition("=")
    assert value == "/etc/lamina/server.toml"
    return {name: str(etc / "server.toml")}


def test_the_commands_run_and_make_no_call_that_their_units_forbid(etc: Path) -> None:
    """The server commits, a backup is made beside it, and strace shows what both asked of the system."""
    strace = program("strace", "apt install strace")
    os.environ.update(environment(SERVICES[0], etc))
    try:
        traced = [strace, "-f", "-qq", "-o", str(etc / "server.trace")]
        with (
            ServerProcess.of_program([*traced, *command(SERVICES[0])], cwd=etc / "var") as server,
            lamina.connect(server.target) as client,
        ):
            config = client.config("shop/prod", create=True)
            config["x"] = 28
            config.commit()
            first = shlex.split(settings(SERVICES[1], "ExecStartPre")[0])
            subprocess.run(first, cwd=etc / "var", check=True)
            traced[-1] = str(etc / "backup.trace")
            subprocess.run([*traced, *command(SERVICES[1])], cwd=etc / "var", check=True)
    finally:
        del os.environ["LAMINA_SERVER_SETTINGS_FILE"]
    assert [path.suffix for path in (etc / "var" / "backups").iterdir()] == [".db"]
    for unit, trace in zip(SERVICES, ("server.trace", "backup.trace"), strict=True):
        text = (etc / trace).read_text(encoding="utf-8", errors="replace")
        calls = set(CALL.findall(text))
        assert {"openat", "mmap", "futex"} <= calls
        if os.geteuid() == 0:
            calls.discard("fchown")  # SQLite calls it for root alone, and the units run another account
        assert calls - allowed(unit) == set()
        assert set(FAMILIES.findall(text)) <= set(settings(unit, "RestrictAddressFamilies")[0].split())
        assert not re.search(r"PROT_WRITE\|PROT_EXEC", text), "MemoryDenyWriteExecute"


def allowed(unit: str) -> set[str]:
    """Return the system calls that a unit allows."""
    yes, no = settings(unit, "SystemCallFilter")
    forbidden = [group for word in no.removeprefix("~").split() for group in calls_of(word)]
    return set(calls_of(yes)) - set(forbidden)


def calls_of(group: str) -> list[str]:
    lines = [line.strip() for line in analyze("syscall-filter", group).splitlines()[1:]]
    found = [line for line in lines if line and not line.startswith("#")]
    return [call for line in found for call in (calls_of(line) if line.startswith("@") else [line])]
