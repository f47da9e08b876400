"""OmniShot Ray: one image in, every rendition people need out."""

__version__ = "0.1.0"
