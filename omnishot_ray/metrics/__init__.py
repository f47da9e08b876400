"""What is measured, kept in Arrow tables, and asked: samples in, figures out. Knows no Ray."""
