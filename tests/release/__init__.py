"""Checks that are run before a release, because they need other runtimes, or hours."""
