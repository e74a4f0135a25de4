"""Stock ONNX Runtime: sessions, one binding over its Python package or its C library, dequantization graphs."""
