"""Terminal tables: one module a subject."""
