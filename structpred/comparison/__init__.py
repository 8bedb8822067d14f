"""Fair comparisons: the same model, data order and budget under each objective."""
