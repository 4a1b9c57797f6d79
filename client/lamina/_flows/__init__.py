"""The verbs, without I/O: generators that ask for calls and are given replies. Knows no gRPC.

Begin with effects.py, then reads.py and writes.py.
"""
