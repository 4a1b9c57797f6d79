"""Where versions are kept: one contract, a store in memory, and one in SQL databases. Knows no message and no thread.

Begin with contract.py; open.py makes a store out of an address.
"""
