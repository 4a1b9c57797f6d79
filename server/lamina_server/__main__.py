"""The entry point of `lamina-server`, and of `python -m lamina_server`. It imports nothing before it handles Ctrl-C."""

import sys


def main() -> None:
    """Run the command and exit with its code."""
    try:
        # Here, because this takes half a second.
        from lamina_server.cli.main import main as command  # noqa: PLC0415

        command(prog_name="lamina-server")
    except KeyboardInterrupt:  # before or after the command itself could handle it
        sys.exit(130)


if __name__ == "__main__":
    main()
