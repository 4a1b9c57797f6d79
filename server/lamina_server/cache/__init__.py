"""Heads and maps in memory, with their values encoded once. Knows the store, and no request.

Begin with heads.py; maps.py is the data structure. single_flight.py and budget.py know nothing of configs.
"""
