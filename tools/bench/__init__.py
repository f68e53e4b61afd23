"""`homing bench`: what a message costs, beside two floors that keep nothing, measured in one run under the same load."""

from tools.bench.command import add_arguments, run

__all__ = ["add_arguments", "run"]
