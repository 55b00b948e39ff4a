"""A recipe proposed for a folder of recordings: looked at, decided, written with its reasons."""
