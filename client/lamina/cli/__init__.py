"""The entry point of `lamina`. It must not import modules of the extra before it has checked that they exist.

Nor does it import more than that before it handles Ctrl-C.
"""

import os
import sys

_NEEDED = ("click", "rich", "ruamel.yaml", "tomli_w")


def main() -> None:
    """Run the command and exit with its code."""
    try:
        if any(not _present(name) for name in _NEEDED):
            sys.stderr.write("lamina: the command line needs its extra: pip install 'lamina[cli]'\n")
            sys.exit(1)
        _prepare_streams()
        from lamina.cli.app import app  # noqa: PLC0415 - after the check above

        app.main(prog_name="lamina")
    except KeyboardInterrupt:  # before or after the command itself could handle it
        sys.exit(130)


def _prepare_streams() -> None:
    """Write UTF-8 in every locale, as files and other programs expect.

    To read a closed standard input is an error: otherwise it would look like an empty file. To write to a closed
    standard output is an error, too: otherwise the result would be lost. A closed standard error discards messages.
    """
    from io import TextIOWrapper  # noqa: PLC0415 - as above
    from pathlib import Path  # noqa: PLC0415

    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open("w", encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(os.open(nowhere, os.O_RDONLY), "w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _present(name: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415 - as above

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a dotted name's parent
        return False
