"""Durable runs: a run id names a run that outlives its connection, and nothing runs twice.

What the states of a run are and mean is told in docs/explanation/exactly-once.md; `store` keeps them, `supervisor` runs the
command, `follow` hands out its output, `requests` puts these together. Nothing of it is imported for a plain dispatch.
"""
