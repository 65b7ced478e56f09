"""One file a table; each has TITLE and make(options), which returns its lines of markdown."""
