"""`lamina-server restore`: a bundle, written into a database again. Knows no server.

Begin with restore.py.
"""
