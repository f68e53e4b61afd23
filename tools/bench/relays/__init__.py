"""The floors of `homing bench`: bare relays that keep nothing."""
