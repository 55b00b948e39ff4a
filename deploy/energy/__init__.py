"""What an inference costs: one counted trace, many estimators, none of them a number without its
interval and what it leaves out.
"""
