"""The store in a SQL database: all that SQLite and PostgreSQL have in common. `Database` hides the differences.

Begin with store.py; reading.py and writing.py are the two kinds of blocks.
"""
