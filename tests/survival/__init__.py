"""Survival: real people over real sockets on real processes that are killed; what they saw is compared with the promises (design §1)."""
