"""The common trainer."""
