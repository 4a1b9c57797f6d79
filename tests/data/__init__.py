"""Small databases as releases have made them, one of each schema: NNNN.db is SQLite's, NNNN.sql PostgreSQL's.

NNNN.json has what is in both. `python -m tests.data.make` makes them for the newest schema of this tree, and with
`--code FOLDER` for that of another one, such as `git archive` of an older commit. Keep those of older schemas: tests
open each with the newest release, as an operator who upgrades would. Only development versions had schema 0001.
"""
