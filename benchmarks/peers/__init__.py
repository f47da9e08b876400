"""This service and the one it replaces, under the same load."""
