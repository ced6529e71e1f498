"""Losses for labels that are wrong or biased."""
