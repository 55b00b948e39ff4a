"""Spikes and membranes that were recorded: by a chip, a board, another framework, or tmkt."""
