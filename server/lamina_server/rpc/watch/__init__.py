"""The watch: one cursor that follows one config. Knows no database.

Begin with watch.py. It sends what the ring holds by messages.py, and what only the store holds by replay.py.
"""
