"""Encoders for other programs: as a graph of ONNX or torch.export, or as a folder for a model hub."""
