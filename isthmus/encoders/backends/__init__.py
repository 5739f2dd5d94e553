"""Where encoders run: PyTorch, OpenVINO, precision and threads."""
