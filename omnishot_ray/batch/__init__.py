"""Whole archives of pictures, by Ray Data."""
