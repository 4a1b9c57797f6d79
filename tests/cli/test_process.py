"""The installed command as a process: streams, pipes, Ctrl-C, locales, imports, and an install without the extra."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lamina
from tests.cli.running import LAMINA, WAIT_SECONDS, environment_of, line_of, run, started

HEAVY = {"rich", "ruamel", "tomli_w"}


def test_ctrl_c_ends_a_command_that_waits_for_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WAIT_SECONDS)
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with started("--timeout", "30", "log", "a", target=target) as process:
            connection, _ = silent.accept()  # the command now waits for an answer that never comes
            with connection:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_closed_pipe_ends_quietly(target: str, shop: lamina.Config, output: str) -> None:
    for number in range(30):
        shop["text"] = str(number) * 10_000  # more than a pipe holds
        shop.commit()
    with started("history", shop.name, "text", "-o", output, target=target) as process:
        assert str(number) in line_of(process) + "29"
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(WAIT_SECONDS) == 0


def test_output_is_utf_8_in_every_locale(target: str, shop: lamina.Config) -> None:
    shop["emoji"] = "日本語 😀"
    shop.commit()
    for locale in {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}:
        assert run("get", shop.name, "emoji", target=target, environment=locale).stdout == "日本語 😀\n"


def test_the_module_is_the_same_command(target: str) -> None:
    program = [sys.executable, "-m", "lamina.cli", "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment_of(target))
    assert done.stdout == run("--help", target=target).stdout


def test_version_prints_the_version(target: str) -> None:
    assert run("--version", target=target).stdout.startswith("lamina 0.")


@pytest.mark.parametrize("missing", ["click", "rich", "ruamel.yaml", "ruamel", "tomli_w"])
def test_without_the_extra_the_error_says_what_to_install(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from lamina.cli import main
try:
    main()
finally:
    print(sorted({{"click", "rich"}} & {{name for name, module in sys.modules.items() if module}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lamina: the command line needs its extra: pip install 'lamina[cli]'\n"
    assert done.stdout == "[]\n"


def test_help_imports_no_slow_module() -> None:
    code = f"""
import sys
from lamina.cli.app import app
app.main(["--help"], standalone_mode=False)
print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Read:" in done.stdout
    assert done.stderr == "[]\n"


def test_the_sdk_needs_no_extra() -> None:
    code = "import sys, lamina; print(sorted({'click', 'rich', 'ruamel', 'tomli_w'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert Path(LAMINA).is_file()
