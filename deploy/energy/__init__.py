"""Energy of an inference: one counted run, many estimators, each with its interval and what it
leaves out.
"""
