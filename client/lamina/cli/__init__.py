"""The `lamina` command's way in; it must not import what only the extra brings before it knows that it is there."""

import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich", "ruamel.yaml", "tomli_w")


def main() -> None:
    """Run the command and exit with its code."""
    if any(not _present(name) for name in _NEEDED):
        sys.stderr.write("lamina: the command line needs its extra: pip install 'lamina[cli]'\n")
        sys.exit(1)
    try:
        from lamina.cli.app import app  # noqa: PLC0415 - after the check above

        app.main(prog_name="lamina")
    except KeyboardInterrupt:  # so early, or so late, that the command itself could not see it
        sys.exit(130)


def _present(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a dotted name's parent
        return False
