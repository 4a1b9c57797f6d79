"""A whole server within another process, and failures on demand. Only tests use it.

Begin with embedded.py.
"""
