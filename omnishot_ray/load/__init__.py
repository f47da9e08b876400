"""Load on a running service and what comes of it: traffic, shapes, a run, a report. Knows no Ray.

Locust is imported in `visitor.py` and `worker.py` alone, which run in processes of their own.
"""
