"""One config's head as it is followed: its state, its pins, its last-known-good file. Knows no gRPC.

Begin with tracking.py.
"""
