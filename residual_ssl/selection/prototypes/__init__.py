"""Selectors that judge by where a point's features lie among those of the classes."""
