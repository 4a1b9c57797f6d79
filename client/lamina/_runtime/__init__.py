"""What every other room may need: forks, the logger, public names, checks of arguments, short tracebacks.

Knows nothing of configs and servers. Begin with forking.py, which explains the most.
"""
