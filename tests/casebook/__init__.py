"""Builders of small models, by topic; `tests.cases` puts them together."""
