"""Training of encoders: alignment, distillation, fine-tuning."""
