"""Compaction: old values go, and their digests stay. The only code that deletes; the database's triggers watch it.

Only `lamina-server compact` imports it. Begin with compaction.py.
"""
