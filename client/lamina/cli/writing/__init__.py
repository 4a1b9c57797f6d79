"""What all writing verbs share: one commit, its preview and its undo line. Knows no file format.

Begin with writer.py.
"""
