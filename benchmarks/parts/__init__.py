"""What settings of the parts beside the pixels do: `python -m benchmarks.parts > FILE.md`.

    python -m benchmarks.parts [--only NAME …]

The real parts in this process, with real peers where they need some: a small web server, a
`redis-server`, files, SQLite. Values of a case have the default among them. Cases that stand still
most of the time are measured all at once, the others one after the other.
"""
