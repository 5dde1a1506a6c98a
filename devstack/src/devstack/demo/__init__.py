"""`make demo`: the whole road on this machine, from the bots' files to the workbooks."""
