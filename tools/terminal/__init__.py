"""The terminal client: what `homing chat` shows and understands."""
