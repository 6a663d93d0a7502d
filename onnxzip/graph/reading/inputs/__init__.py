"""What the graph says about the values of its inputs."""
