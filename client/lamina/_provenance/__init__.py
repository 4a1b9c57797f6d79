"""Which version a log record, a call or a request was made with. Knows no server.

Begin with baggage.py: what a request carries along.
"""
