"""How files are tried on other runtimes: pairs of files, environments, scripts, answers, tables."""
