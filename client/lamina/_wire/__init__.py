"""The table of calls, messages to records and back, and the hash of a version. Makes no call.

Begin with rpcs.py.
"""
