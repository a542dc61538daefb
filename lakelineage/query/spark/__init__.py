"""Reading with Spark: the same rows at any size."""
