"""The dict: values, a version's entries, and changes to them. Pure: no message, no call.

Begin with draft.py.
"""
