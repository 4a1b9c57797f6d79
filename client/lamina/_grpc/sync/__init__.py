"""The shell for threads. Knows nothing of asyncio.

Begin with shell.py.
"""
