"""How work in progress is shown on stderr: a bar on a terminal, elsewhere a line now and then."""
