"""The durable log of each process, and the committer that carries it to the Delta tables."""
