"""Losses and heads for pools that hold samples of unknown classes."""
