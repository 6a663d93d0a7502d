"""The guide: a Markdown page a topic, which `onnxzip --guide` shows; start.md lists them all."""
