"""`homing bench`: what a message costs, beside two floors that keep nothing, measured in one run under the same load."""
