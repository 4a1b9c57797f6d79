"""The watch: one cursor that follows one config. Knows no database.

Begin with watch.py.
"""
