"""New versions on their way to watches. Knows no message and no connection.

Begin with feed.py, which wakes the subscribers (subscribers.py) and holds recent versions (ring.py). backfill.py puts
older versions back into a ring, and news.py brings what other servers commit.
"""
