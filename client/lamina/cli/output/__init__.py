"""The output for people and programs: screens, JSON records, differences, conflicts. Knows no server.

Begin with screen.py.
"""
