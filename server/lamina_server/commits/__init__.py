"""The way of a commit: decided, written with others in one transaction, announced. Knows no message.

Begin with committer.py, which hands groups of commands to writer.py and announces what comes back. decide.py holds the
rules.
"""
