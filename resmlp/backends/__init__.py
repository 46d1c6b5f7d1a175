"""Engines that run a network on a CPU: torch, ONNX Runtime, OpenVINO; autotuning finds the fastest schedule."""
