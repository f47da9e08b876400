"""Results that need not be made twice."""
