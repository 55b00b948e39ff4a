"""Streams: run the integer program on events as they come, in event time. docs/streams-reference.md
states the rules.
"""
