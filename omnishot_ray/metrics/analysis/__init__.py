"""What the figures mean: trends, anomalies, the impact of a change, costs, recommendations.

Pure functions over arrays and rows; `reading.py` alone asks the tables.
"""
