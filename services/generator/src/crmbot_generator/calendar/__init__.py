"""When things happen: working days and hours, and the demand of each day."""
