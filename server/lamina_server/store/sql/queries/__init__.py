"""The SELECT statements, built once. They know the tables and no connection.

Begin with clauses.py.
"""
