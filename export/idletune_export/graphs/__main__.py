"""Writes the graphs that ship with the runtime, as `make graphs` does."""

from idletune.onnx_runtime import dequantizer
from idletune.training import graph_files

from ..dequantize_graphs import export_dequantize_graphs
from .files import write_training_graphs

write_training_graphs(graph_files.GRAPHS)
export_dequantize_graphs(dequantizer.GRAPHS)
