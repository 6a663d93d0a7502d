"""Make ONNX models many times smaller, as plain ONNX files that any stock onnxruntime loads."""
