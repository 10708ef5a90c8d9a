"""Pure functions of the out-of-fold table: metrics, tests, audit, power, conclusions."""
