"""`homing services`: the engines of the cluster profile on this machine, found or installed, started, watched by their process ids."""
