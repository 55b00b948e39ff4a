"""The integer program on a continuous stream of events: bins in event time, windows or carried
state, decisions. docs/streams.md gives the rules.
"""
