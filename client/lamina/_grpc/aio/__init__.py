"""The shell for asyncio. Knows nothing of threads.

Begin with shell.py.
"""
