"""The store in a SQL database, as far as SQLite and PostgreSQL agree. What differs is behind `Database`.

Begin with store.py; reading.py and writing.py are the two kinds of blocks.
"""
