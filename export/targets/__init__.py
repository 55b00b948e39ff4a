"""Files that other programs read: one module a target."""
