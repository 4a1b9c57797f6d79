"""The entry point of `lamina-server`, and of `python -m lamina_server`. It handles signals before it imports more."""

import os
import sys


def main() -> None:
    """Run the command and exit with its code."""
    try:
        if os.getpid() == 1:  # in a container, where the kernel drops a signal that nobody handles
            import signal  # noqa: PLC0415 - within the `try`

            signal.signal(signal.SIGTERM, _end)
        # Here, because this takes half a second.
        from lamina_server.cli.main import main as command  # noqa: PLC0415

        command(prog_name="lamina-server")
    except KeyboardInterrupt:  # before or after the command itself could handle it
        sys.exit(130)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
