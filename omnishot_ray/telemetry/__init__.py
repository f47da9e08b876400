"""What the service tells of itself in words: logs and traces, set up once at the rim."""
