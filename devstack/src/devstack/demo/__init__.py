"""`make demo`: the whole pipeline on this machine, from the bots' files to the workbooks."""
