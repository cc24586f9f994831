"""Images, their splits, and the loaders of minibatches."""
