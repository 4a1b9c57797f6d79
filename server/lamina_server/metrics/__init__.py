"""What Prometheus asks for: numbers of the server, in its format, on a socket of its own. Knows no other room.

Other rooms hand plain numbers to `recorder`, or are asked for them at each scrape (see lamina_server/gauges.py). Begin
with recorder.py. `numbers` has the kinds of numbers, `exposition` gives them Prometheus' form, and `endpoint` answers.
`lag` measures the event loop. Several workers have a `shared` address, and whichever answers there
does the `gathering` of all numbers.
"""
