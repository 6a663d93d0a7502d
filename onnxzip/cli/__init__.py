"""The command line: arguments, actions, messages, exit codes; the only folder that prints."""
