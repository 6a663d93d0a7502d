"""The bytes of a model: the wire format, and what is left of it for protobuf to parse."""
