"""Version 1 of the wire contract: `lamina.proto` and its generated code. `protos/generate.py` makes it anew."""
