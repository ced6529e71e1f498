"""Losses beside the branches, with heads of their own on the student's features where they need some."""
