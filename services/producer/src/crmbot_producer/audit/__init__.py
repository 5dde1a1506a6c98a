"""Promise 5: compares a bot's files with the warehouse, row by row."""
