"""What people type: options, points in time, assignments. Knows no server.

Begin with options.py.
"""
