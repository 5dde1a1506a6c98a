"""Who there is: branches, managers, clients, and what is sold."""
