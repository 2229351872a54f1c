"""Training: tiles with labels out of parts, the loss that leaves out what is ignored, the fit."""
