"""What happens: the lives of leads and orders."""
