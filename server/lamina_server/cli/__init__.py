"""The `lamina-server` command. Knows the application and the store, and no request. Begin with main.py."""

import os

# gRPC reads this when main.py loads it. What it writes to stderr is for its own developers, in no log's format.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
