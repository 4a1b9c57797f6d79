"""PostgreSQL: its connections, and notices between the servers of one database. Knows no query.

Begin with database.py.
"""
