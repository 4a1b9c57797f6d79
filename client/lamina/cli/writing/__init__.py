"""What all writing verbs share: a commit, its preview and its undo line. Knows no file format.

Begin with writer.py.
"""
