"""Algorithms and branches that go beyond two views of one batch: mixed samples, features, teachers of the future."""
