"""Where the microseconds of a commit go: measures each stage from outside, and writes commit.md.

stages.py        times functions from outside
server.py        a server whose stages are timed
way.py           measures with it, and with servers as users run them
counting.py      what runs under valgrind, to be counted
instructions.py  runs it, and adds up
page.py          the page, with what learned.py says
"""
