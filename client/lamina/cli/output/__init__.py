"""What people and programs read: screens, JSON records, differences, conflicts. Knows no server.

Begin with screen.py.
"""
