"""Which ids an input may hold: from the nodes that look something up, back to the graph's inputs."""
