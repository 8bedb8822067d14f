"""Models: from inputs to a distribution over outputs."""
