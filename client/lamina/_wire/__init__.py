"""The table of calls, and messages to records and back. Makes no call.

Begin with rpcs.py.
"""
