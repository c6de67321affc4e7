"""The mathematics of the method: directions, estimator, update. Pure: no engine, no I/O, no clock."""
