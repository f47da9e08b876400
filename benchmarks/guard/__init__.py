"""The regression guard: a short set of figures, held against what they were."""
