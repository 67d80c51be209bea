"""Model folders: finding and checking them, reading text with them, ONNX in and out."""
