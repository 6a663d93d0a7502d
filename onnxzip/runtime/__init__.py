"""Runs models with onnxruntime: the only package that imports it."""
