"""SQLite: its file, its connections and its backups. Knows no query.

Begin with database.py.
"""
