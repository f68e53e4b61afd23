"""Real chats as input: reads exported chats and plays them over a running cluster."""
