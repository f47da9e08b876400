"""Bytes by URI: where sources are read from and results are written to."""
