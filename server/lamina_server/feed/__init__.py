"""New versions on their way to watchers. Knows no message and no connection.

Begin with feed.py, which wakes subscribers.py out of ring.py; news.py brings what other servers commit.
"""
