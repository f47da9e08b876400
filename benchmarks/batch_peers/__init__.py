"""What `omnishot batch` is measured beside: scripts as one would write them, in their own words."""
