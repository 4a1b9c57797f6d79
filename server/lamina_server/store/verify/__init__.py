"""`lamina-server verify`: every row of a database against its digests and hashes. Writes nothing.

Begin with walk.py.
"""
