"""A page that runs compressed models in a browser, and the server behind it."""
