"""The whole cluster in virtual time, from one seed: every process a sans-I/O core, one heap of events, one source of randomness."""
