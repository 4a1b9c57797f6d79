"""The records and the rules: configs, versions and values, and how changes merge. Pure: no I/O, no other room.

Begin with records.py, then planning.py.
"""
