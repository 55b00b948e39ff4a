"""Engines: everything that can run a bundle. All take the same frames and give the same output."""
