"""Task adapters: data, model, views and metric of each kind of task."""
