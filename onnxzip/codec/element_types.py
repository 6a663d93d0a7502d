"""Element types that a Cast in a decode subgraph names: TensorProto.DataType, onnx/onnx.proto."""

ONNX_FLOAT = 1
ONNX_INT32 = 6
