"""Lets nodes of a graph compute in int8, as QuantizeLinear and DequantizeLinear, which runtimes fuse."""
