"""The state machines of a watch and of a verification, without I/O. Knows no gRPC.

Begin with watch.py: a stream that resumes. queue.py and verify.py receive its versions.
"""
