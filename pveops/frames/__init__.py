"""From the model to tables: columns, units, dtypes. ``columns`` needs no pandas; ``frame`` makes DataFrames."""
