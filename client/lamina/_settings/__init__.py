"""Objects that are made of a map and follow a live: dataclasses and pydantic models. Knows no gRPC.

Begin with bound.py.
"""
