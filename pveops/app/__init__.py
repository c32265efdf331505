"""The composition root: the only place that wires real parts together. Holds no globals."""
