"""Views and cameras for training and evaluation: data sets, sampling, batching."""
