"""Run the `lamina-server` command: `python -m lamina_server`."""

from lamina_server.cli.main import main

if __name__ == "__main__":
    main()
