"""Looking at ink: composites, pictures."""
