"""Tasks: where prompts come from, and the one door through which training sees reference answers."""
