"""Report of a run or a bundle, as one JSON object and as one page that needs nothing else:
docs/report.md.
"""
