"""Bytes, quality and CPU of the encoders, ours and sharp's, over photographs."""
