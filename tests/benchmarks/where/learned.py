"""What was learned about the way of a commit, as the page tells it. Edit it when a measurement says something new."""

LEARNED = """## What was learned

**Python's lock is what the two threads compete for.** So the event loop decides a commit, and the writer's thread has
little Python to run: it checks the decision and writes it
([proposals.py](../../server/lamina_server/commits/proposals.py)). Even so, with 64 callers the server makes about 27
futex calls for each commit (`strace -f -c -e trace=futex`), where the empty handler makes 4.6. These hand-overs of the
lock take about 13 % of the server's CPU.

**Each call of SQLite's driver gives up the lock, and waits to get it back.** `executemany` does so once for each row.
So one INSERT has up to 64 rows ([prepared.py](../../server/lamina_server/store/sql/prepared.py)).

**A frozen dataclass takes three times as long to make as another one.** Its `__init__` sets each field by a call of
`object.__setattr__`. So the records of a commit are made by
[record.py](../../server/lamina_server/domain/record.py), and only the type checker refuses to change them.

**Most instructions are the interpreter's**: about three quarters, and only about a tenth are SQLite's. So a commit gets
faster when it makes fewer objects and calls, and hardly by another way to write rows.

**gRPC alone is two fifths.** With 64 callers, the empty handler takes about two fifths of the CPU that the server takes
for a commit, and no change of ours reaches that part. COMMIT takes nearly half of the writer's time, but a fifth of its
CPU: it waits for the disk, while the event loop decides the next group.

**These brought nothing, or too little to keep:**

- to wait longer, so that groups get larger (0.3 ms for each caller): 5 to 10 % at most;
- to carry out the transaction on the event loop's thread: slower, because every group is then of one commit;
- uvloop, gRPC's threaded server, mypyc, and Python 3.13: no difference that could be measured.
"""
