"""Commands that `lamina` runs: one for each version, restarted, or tried. Knows no gRPC.

Begin with child.py.
"""
