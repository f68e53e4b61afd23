"""The client library of Homing."""
