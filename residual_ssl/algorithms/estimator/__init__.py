"""Semi-supervised learning of rows with an estimator of scikit-learn."""
