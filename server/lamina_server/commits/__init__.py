"""The way of a commit: decided, written with others in one transaction, announced. Knows no message.

Begin with committer.py; decide.py holds the rules.
"""
