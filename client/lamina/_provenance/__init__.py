"""Which version a log record, a call or a request was made with. Knows no server.

Begin with baggage.py: the versions that a request carries.
"""
