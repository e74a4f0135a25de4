"""LoRA on quantized blocks, on the stock ONNX Runtime."""
