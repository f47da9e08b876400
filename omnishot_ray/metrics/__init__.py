"""What is measured, and the tables that it is aggregated in."""
