"""Programs that run a network: torch, ONNX Runtime, OpenVINO; the fastest is found by measurement."""
