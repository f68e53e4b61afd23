"""The floors that Homing's cost is compared with: what a chat costs that stores nothing, in one process (issue 3, Speed)."""
