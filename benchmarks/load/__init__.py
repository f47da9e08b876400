"""Locust scenarios and load runs that stand beside others."""
