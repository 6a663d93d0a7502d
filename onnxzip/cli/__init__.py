"""The command line: arguments to options, progress and tables to the terminal, errors to exit codes."""
