"""Training: tiles with labels out of parts, and the loss that leaves out what is ignored."""
