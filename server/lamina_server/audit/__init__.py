"""The audit: a line of JSON for each write, each refusal and each revealed secret. Knows no gRPC and no store.

Begin with audit.py. `file` writes the lines, and `line` makes one.
"""
