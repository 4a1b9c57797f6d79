"""SQLite: its connections, its lock file and its backups. Knows no query.

Begin with database.py.
"""
