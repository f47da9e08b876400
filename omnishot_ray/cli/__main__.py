"""`python -m omnishot_ray.cli` is the `omnishot` command."""

from omnishot_ray.cli import main

main()
