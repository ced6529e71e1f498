"""Hydra configuration groups: dataset, model, selector, algorithm, experiment."""
