"""Takes over a file that a bot of somebody else's writes: checks it, then makes its `source` table."""
