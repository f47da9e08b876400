"""Measurements of how the service behaves under load."""
