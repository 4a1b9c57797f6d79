"""The `lamina-server` command. It knows the application and the store, and no request. Begin with main.py."""

import os

from lamina_server.cli.streams import open_missing

open_missing()
# gRPC reads this when main.py loads it. gRPC's lines on stderr are for its developers, and not in the log's format.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
